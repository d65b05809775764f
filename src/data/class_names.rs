//! What the classes are called.

use crate::error::Error;

/// The names of `C` classes: that of class 0 first. As data, a list of strings.
///
/// ```
/// use dfdx_noprop::data::ClassNames;
///
/// let names = ClassNames::<2>::new(["cat", "dog"])?;
/// assert_eq!((names.name(1), names.label("cat")), (Some("dog"), Some(0)));
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<String>", into = "Vec<String>"))]
pub struct ClassNames<const C: usize>(Vec<String>);

impl<const C: usize> ClassNames<C> {
    /// A name for each class, in the order of the labels.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `C` names, or two are the same.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.len() != C {
            return Err(Error::argument("ClassNames::new", format!("{C} names"), names.len()));
        }
        match double(&names) {
            Some(name) => {
                let found = format!("{name:?} twice");
                Err(Error::argument("ClassNames::new", "a name of its own for each class", found))
            }
            None => Ok(Self(names)),
        }
    }

    /// The names, that of class 0 first.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The name of a class, if there is such a class.
    pub fn name(&self, label: u32) -> Option<&str> {
        self.0.get(label as usize).map(String::as_str)
    }

    /// The class of this name, if there is one.
    pub fn label(&self, name: &str) -> Option<u32> {
        self.0.iter().position(|known| known == name).and_then(|label| u32::try_from(label).ok())
    }
}

/// The first string that was there before.
pub(crate) fn double(names: &[String]) -> Option<&str> {
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    names.iter().map(String::as_str).find(|name| !seen.insert(*name))
}

impl<const C: usize> TryFrom<Vec<String>> for ClassNames<C> {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self, Error> {
        Self::new(names)
    }
}

impl<const C: usize> From<ClassNames<C>> for Vec<String> {
    fn from(names: ClassNames<C>) -> Self {
        names.0
    }
}
