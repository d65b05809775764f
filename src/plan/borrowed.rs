//! What a plan borrows of a built layer.

/// A built layer, to be read, or to be changed by a training pass (running statistics, a module of
/// a user's own).
pub enum Borrowed<'a, B> {
    /// To be read.
    Shared(&'a B),
    /// To be changed.
    Mutable(&'a mut B),
}

impl<'a, B> Borrowed<'a, B> {
    /// The layer.
    pub fn get(&self) -> &B {
        match self {
            Self::Shared(built) => built,
            Self::Mutable(built) => built,
        }
    }

    /// Its parts, each borrowed in the same way.
    pub fn each<T>(
        self,
        shared: fn(&'a B) -> &'a [T],
        mutable: fn(&'a mut B) -> &'a mut [T],
    ) -> Vec<Borrowed<'a, T>> {
        match self {
            Self::Shared(built) => shared(built).iter().map(Borrowed::Shared).collect(),
            Self::Mutable(built) => mutable(built).iter_mut().map(Borrowed::Mutable).collect(),
        }
    }
}

/// Fields of a borrowed layer, each borrowed in the same way: `fields!(built; z, x)`.
macro_rules! fields {
    ($built:expr; $($field:tt),+) => {
        match $built {
            $crate::plan::Borrowed::Shared(built) => {
                ($($crate::plan::Borrowed::Shared(&built.$field),)+)
            }
            $crate::plan::Borrowed::Mutable(built) => {
                ($($crate::plan::Borrowed::Mutable(&mut built.$field),)+)
            }
        }
    };
}
pub(crate) use fields;
