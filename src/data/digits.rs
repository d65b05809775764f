//! The handwritten digits inside this crate.

use std::path::Path;

use super::{Csv, Dataset, Header, Labels, Split, gzip::Source};
use crate::error::Error;

static PACKED: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// Handwritten digits: 8 × 8 pixels and one of ten labels, four fifths of the 1,797 rows to train,
/// one fifth to test, the same split every time.
///
/// Each class is split in the same proportion. The pixels are brought to mean 0 and deviation 1 by
/// the training rows, all together ([`Standardiser::overall`](super::Standardiser::overall)): one
/// by one, those at the border, nearly always 0, would reach 75 deviations in the test rows.
///
/// The data: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
/// Learning Repository, 1998, <https://doi.org/10.24432/C50P49>, under the licence CC BY 4.0
/// (<https://creativecommons.org/licenses/by/4.0/>).
///
/// ```
/// let digits = dfdx_noprop::data::digits()?;
/// assert_eq!(digits.train.rows() + digits.test.rows(), 1797);
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] if the copy inside this crate is damaged.
pub fn digits() -> Result<Split<64, Labels<10>>, Error> {
    digits_with_seed(0)
}

/// As [`digits`], with another split for each seed.
///
/// # Errors
/// As [`digits`].
pub fn digits_with_seed(seed: u64) -> Result<Split<64, Labels<10>>, Error> {
    digits_rows()?.split_stratified(0.2, seed)?.standardised_overall()
}

/// All 1,797 rows of [`digits`], in the order of the file, with the pixels as they are: 0 to 16.
///
/// # Errors
/// As [`digits`].
pub fn digits_rows() -> Result<Dataset<64, Labels<10>>, Error> {
    let path = Path::new("data/digits.csv.gz");
    let rows = Csv { header: Header::None, ..Csv::default() };
    rows.read_labels(Source::packed(path, PACKED))
}
