//! Which of the processor's instructions are used.

use crate::{error::Error, kernel};

/// Which of the processor's instructions products and loops use.
///
/// The widest that there are, if nothing else is said. Sums by AVX-512 and by AVX2 are in another
/// order: who wants the same bits on machines with and without AVX-512 limits all of them to AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instructions {
    /// AVX2 and FMA, as all x86-64 processors for desktops and servers have them since 2015.
    Avx2,
}

impl Instructions {
    /// Uses no wider ones, in this whole process.
    ///
    /// ```
    /// use dfdx_noprop::device::Instructions;
    ///
    /// if let Err(error) = Instructions::Avx2.limit() {
    ///     eprintln!("{error}");
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where the processor does not have them, or wider ones were used before:
    /// call it first.
    pub fn limit(self) -> Result<(), Error> {
        match self {
            Self::Avx2 if kernel::limit_to_avx2() => Ok(()),
            Self::Avx2 => {
                let expected = "an x86-64 processor with AVX2, and a call before the first model";
                Err(Error::argument("Instructions::limit", expected, kernel::instructions()))
            }
        }
    }
}
