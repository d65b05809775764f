//! The numbers of an array.

use std::{
    fmt::Display,
    io::{self, Read},
};

use npyz::{Deserialize, NpyFile, Order, TypeChar};
use num_traits::NumCast;

use super::{header::Shape, place::Place};
use crate::error::Error;

/// What becomes of a number of type `N`: one of type `T`, unless it is not as expected.
pub(super) struct Conversion<'a, N, T> {
    pub(super) expected: &'a str,
    pub(super) convert: &'a dyn Fn(N) -> Option<T>,
}

/// The numbers of an array, row by row.
pub(super) fn read<N: NumCast, T: Copy + Default>(
    place: &Place<'_>,
    shape: &Shape,
    conversion: &Conversion<'_, N, T>,
) -> Result<Vec<T>, Error> {
    macro_rules! read_as {
        ($($kind:ident $bytes:literal $number:ty),*) => {
            match shape.kind {
                (TypeChar::Bool, _) => fill::<bool, u8, N, T>(place, shape, conversion),
                $((TypeChar::$kind, $bytes) => {
                    fill::<$number, $number, N, T>(place, shape, conversion)
                })*
                (kind, bytes) => {
                    let found = format!("{}{bytes}", kind.to_str());
                    Err(place.error("numbers of 8, 16, 32 or 64 bits", found))
                }
            }
        };
    }
    read_as!(
        Float 4 f32, Float 8 f64,
        Int 1 i8, Int 2 i16, Int 4 i32, Int 8 i64,
        Uint 1 u8, Uint 2 u16, Uint 4 u32, Uint 8 u64
    )
}

/// The same of an array whose numbers are read as `S` and are worth as much as an `A`.
fn fill<S: Deserialize, A: From<S> + Copy + Display + num_traits::ToPrimitive, N, T>(
    place: &Place<'_>,
    shape: &Shape,
    conversion: &Conversion<'_, N, T>,
) -> Result<Vec<T>, Error>
where
    N: NumCast,
    T: Copy + Default,
{
    let (rows, width) = (shape.rows, shape.columns.len());
    place.open(|bytes| {
        let skipped = io::copy(&mut bytes.take(shape.before), &mut io::sink());
        skipped.map_err(|err| place.read_error(err))?;
        let file = NpyFile::with_header(shape.header.clone(), bytes);
        let by_columns = shape.header.order() == Order::Fortran;
        let numbers = file.data::<S>().map_err(|err| place.error("an array of numbers", err))?;
        let mut filled = vec![T::default(); rows * width];
        for (at, number) in numbers.take(filled.len()).enumerate() {
            let number = A::from(number.map_err(|err| place.read_error(err))?);
            let (row, column) =
                if by_columns { (at % rows, at / rows) } else { (at / width, at % width) };
            let column = shape.columns[column];
            let converted = N::from(number).and_then(conversion.convert);
            filled[row * width + column] = converted.ok_or_else(|| {
                place.error(conversion.expected, format!("{number} in row {row}, column {column}"))
            })?;
        }
        Ok(filled)
    })
}
