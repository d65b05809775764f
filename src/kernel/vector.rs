//! Loops over contiguous numbers: compiled for what the processor has and chosen when the program
//! runs, on as many threads of the pool around us as are worth it.

use std::{cell::Cell, marker::PhantomData, sync::Once};

use rayon::prelude::*;

use super::instructions::arch;
use crate::number::Precision;

thread_local! {
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// While this lives, the operands of this thread's products have the precision that was asked for.
#[derive(Debug)]
pub struct Products {
    before: Precision,
    /// Of this thread.
    here: PhantomData<*const ()>,
}

impl Drop for Products {
    fn drop(&mut self) {
        PRECISION.set(self.before);
    }
}

/// Operands of this precision from now on.
pub(crate) fn products_in(precision: Precision) -> Products {
    Products { before: PRECISION.replace(precision), here: PhantomData }
}

/// That of the operands of products.
pub(super) fn precision() -> Precision {
    PRECISION.get()
}

/// How many threads share an operation: all of the pool around us, if nothing else was said by
/// [`on_threads`].
pub(crate) fn threads() -> usize {
    match MOST.get() {
        1 => 1,
        most => most.min(rayon::current_num_threads()),
    }
}

/// Makes sure that rayon's own pool can be asked for, as dfdx's products do: where the system has no
/// threads for it, that would be a panic, and the pool is the thread that we are on.
pub(crate) fn ensure_pool() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let pool = || rayon::ThreadPoolBuilder::new();
        if pool().build().is_err() {
            // An error says that somebody else has started it before.
            let _ = pool().num_threads(1).use_current_thread().build_global();
        }
    });
}

/// Shares the operations of `work` among `most` threads at most, or among 1.
pub(crate) fn on_threads<R>(most: usize, work: impl FnOnce() -> R) -> R {
    /// Sets it back also where the work panics.
    struct Before(usize);

    impl Drop for Before {
        fn drop(&mut self) {
            MOST.set(self.0);
        }
    }

    let _before = Before(MOST.replace(most.max(1)));
    work()
}

/// Runs a short loop, vectorised for this processor.
///
/// Only what the compiler inlines is, and it leaves long closures alone: a long loop is a function
/// with `pulp::with_simd`.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    /// A closure as what [`Arch::dispatch`](pulp::Arch::dispatch) takes.
    struct Loop<F>(F);

    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Loop<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }

    arch().dispatch(Loop(work))
}

/// The length of the pieces that a loop over `length` numbers is cut into.
pub(super) fn piece(length: usize) -> usize {
    /// A loop over this many numbers takes some times as long as handing it to another thread.
    const LEAST: usize = 1 << 13;
    let most = length / LEAST;
    // Without a look at the pool where it is not needed: that would start one.
    let pieces = if most < 2 { 1 } else { most.min(threads()) };
    length.div_ceil(pieces).max(1)
}

/// Runs `work` on pieces of some rows and of as many others, side by side; `width` is how many
/// numbers a row has.
pub(super) fn in_pieces<A: Send, B: Sync>(
    to: &mut [A],
    from: &[B],
    width: usize,
    work: impl Fn(&mut [A], &[B]) + Sync,
) {
    let each = piece(to.len() * width).div_ceil(width.max(1));
    if each >= to.len() {
        return work(to, from);
    }
    to.par_chunks_mut(each).zip(from.par_chunks(each)).for_each(|(to, from)| work(to, from));
}

/// Copies rows of `width` numbers, in the order given, from all of them; rows past the end are left
/// as they are.
pub(crate) fn gather_rows<E: Copy + Send + Sync>(
    to: &mut [E],
    all: &[E],
    rows: &[usize],
    width: usize,
) {
    let copy = |to: &mut [E], rows: &[usize]| {
        for (to, &row) in to.chunks_exact_mut(width.max(1)).zip(rows) {
            if let Some(from) = all.get(row * width..(row + 1) * width) {
                to.copy_from_slice(from);
            }
        }
    };
    let each = piece(to.len()).div_ceil(width.max(1));
    if each >= rows.len() {
        return copy(to, rows);
    }
    let pieces = to.par_chunks_mut(each * width).zip(rows.par_chunks(each));
    pieces.for_each(|(to, rows)| copy(to, rows));
}
