//! Loops over contiguous numbers, compiled for what the processor has and chosen when the program runs.

use pulp::Arch;

/// Runs a loop, vectorised for this processor.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    /// A closure as what [`Arch::dispatch`] takes.
    struct Loop<F>(F);

    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Loop<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }

    Arch::new().dispatch(Loop(work))
}
