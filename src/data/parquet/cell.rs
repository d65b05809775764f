//! The types of columns, and one value of each.

use std::{borrow::Cow, fmt};

use parquet::{
    basic::{ConvertedType, LogicalType, Type},
    schema::types::ColumnDescriptor,
};

use super::super::csv::{number, short};
use crate::device::Real;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Unsigned,
    /// Whole numbers, each divided by 10 to this power.
    Decimal(i32),
    /// A float of 16 bits.
    Half,
    Text,
}

impl Kind {
    /// None for what is neither numbers nor text, such as dates.
    pub(super) fn of(column: &ColumnDescriptor) -> Option<Self> {
        let (logical, converted) = (column.logical_type_ref(), column.converted_type());
        if converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal(_))) {
            let scale = column.type_scale();
            return (0..=100).contains(&scale).then_some(Self::Decimal(scale));
        }
        match (column.physical_type(), logical, converted) {
            (Type::BOOLEAN | Type::FLOAT | Type::DOUBLE, _, _) => Some(Self::Number),
            (Type::INT32 | Type::INT64, Some(LogicalType::Integer(kind)), _) => {
                Some(if kind.is_signed { Self::Number } else { Self::Unsigned })
            }
            (Type::INT32 | Type::INT64, None, converted) => match converted {
                ConvertedType::NONE
                | ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64 => Some(Self::Number),
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64 => Some(Self::Unsigned),
                _ => None,
            },
            (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), _) => Some(Self::Half),
            (Type::BYTE_ARRAY, Some(LogicalType::String | LogicalType::Enum), _) => {
                Some(Self::Text)
            }
            // Some writers do not say that bytes are a text.
            (Type::BYTE_ARRAY, None, converted) => {
                matches!(converted, ConvertedType::NONE | ConvertedType::UTF8 | ConvertedType::ENUM)
                    .then_some(Self::Text)
            }
            _ => None,
        }
    }
}

/// What a message calls the values of a column.
pub(super) fn described(column: &ColumnDescriptor) -> String {
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(logical), _) => format!("{logical:?}"),
        (None, ConvertedType::NONE) => column.physical_type().to_string(),
        (None, converted) => converted.to_string(),
    }
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Decimal(i128, i32),
    Text(&'a [u8]),
}

impl<'a> Cell<'a> {
    pub(super) fn whole(kind: Kind, signed: i64, unsigned: u64) -> Self {
        match kind {
            Kind::Unsigned => Self::Unsigned(unsigned),
            Kind::Decimal(scale) => Self::Decimal(signed.into(), scale),
            _ => Self::Signed(signed),
        }
    }

    /// None for a decimal of more than 128 bits, and a half of other than 16.
    pub(super) fn bytes(kind: Kind, bytes: &'a [u8]) -> Option<Self> {
        match kind {
            Kind::Half => Some(Self::Float(half(u16::from_le_bytes(bytes.try_into().ok()?)))),
            Kind::Decimal(scale) => {
                let (first, length) = (bytes.first()?, bytes.len());
                let mut wide = [if *first < 128 { 0 } else { 255 }; 16];
                wide.get_mut(16_usize.checked_sub(length)?..)?.copy_from_slice(bytes);
                Some(Self::Decimal(i128::from_be_bytes(wide), scale))
            }
            _ => Some(Self::Text(bytes)),
        }
    }

    /// As a finite number of the type asked for, rounded once.
    pub(super) fn number<E: Real>(self) -> Option<E> {
        let value: Option<E> = match self {
            Self::Bool(value) => E::from(u8::from(value)),
            Self::Signed(value) => E::from(value),
            Self::Unsigned(value) => E::from(value),
            Self::Float(value) => E::from(value),
            Self::Double(value) => E::from(value),
            Self::Decimal(..) => number(&self.text()),
            Self::Text(_) => None,
        };
        value.filter(|value| value.is_finite())
    }

    /// As a CSV file has it.
    pub(super) fn text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Bool(value) => u8::from(value).to_string().into_bytes().into(),
            Self::Signed(value) => value.to_string().into_bytes().into(),
            Self::Unsigned(value) => value.to_string().into_bytes().into(),
            Self::Float(value) => value.to_string().into_bytes().into(),
            Self::Double(value) => value.to_string().into_bytes().into(),
            Self::Decimal(value, scale) => format!("{value}e-{scale}").into_bytes().into(),
            Self::Text(text) => text.into(),
        }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{:?}", short(text)),
            number => f.write_str(&short(&number.text())),
        }
    }
}

/// A float of 16 bits: 1 for the sign, 5 for the exponent, 10 for the fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0. => f32::INFINITY,
        31 => f32::NAN,
        _ => (1. + fraction / 1024.) * 2_f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        let known = [(0x3c00, 1.), (0xc000, -2.), (0x7bff, 65504.), (0x0001, 5.960_464_5e-8)];
        for (bits, value) in known {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn decimals() {
        let decimal = |bytes: &[u8]| Cell::bytes(Kind::Decimal(2), bytes)?.number::<f64>();
        assert_eq!(decimal(&[0x01, 0x00]), Some(2.56));
        assert_eq!(decimal(&[0xff, 0xff, 0xfe]), Some(-0.02));
        assert_eq!(decimal(&[0; 17]), None);
        assert_eq!(decimal(&[]), None);
    }
}
