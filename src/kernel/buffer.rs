//! Memory for activations and their gradients that a thread keeps from step to step.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
};

use dfdx::prelude::*;

use super::view::elements_mut;
use crate::number::Real;

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
    static IN_USE: Cell<bool> = const { Cell::new(false) };
}

/// A device of the thread's own, in whose cache tensors lie until the next of their size. One for
/// all threads would not do: dfdx's cache panics where two of them look for the same size at once.
struct Kept {
    device: Cpu,
    rows: usize,
    times: usize,
}

impl Kept {
    fn new(rows: usize) -> Self {
        let device = Cpu::default();
        // Neither this nor what frees the cache can fail on the processor.
        let _ = device.try_enable_cache();
        Self { device, rows, times: 0 }
    }

    /// Makes room for batches of this many rows.
    fn prepare(&mut self, rows: usize) {
        /// A layer of a user's own may bring memory that no tensor of its size ever takes out
        /// again.
        const MOST: usize = 1 << 10;
        self.times += 1;
        if self.rows != rows || self.times >= MOST {
            (self.rows, self.times) = (rows, 0);
            let _ = self.device.try_empty_cache();
        }
    }
}

impl Drop for Kept {
    /// dfdx's cache does not free what lies in it.
    fn drop(&mut self) {
        let _ = self.device.try_disable_cache();
    }
}

/// While this lives, tensors that this thread makes lie in memory that it keeps.
#[derive(Debug)]
pub struct Reuse {
    before: bool,
    /// Of this thread.
    here: PhantomData<*const ()>,
}

impl Drop for Reuse {
    fn drop(&mut self) {
        IN_USE.set(self.before);
    }
}

/// Keeps the memory of tensors from now on, for batches of this many rows.
pub(crate) fn reuse(rows: usize) -> Reuse {
    KEPT.with_borrow_mut(|kept| kept.get_or_insert_with(|| Kept::new(rows)).prepare(rows));
    Reuse { before: IN_USE.replace(true), here: PhantomData }
}

/// The device with that memory, while it is in use.
fn kept() -> Option<Cpu> {
    if !IN_USE.get() {
        return None;
    }
    KEPT.with_borrow(|kept| kept.as_ref().map(|kept| kept.device.clone()))
}

/// A tensor whose numbers `fill` writes over zeros: in memory that is kept, and elsewhere on
/// `device`.
pub(crate) fn filled<S: Shape, E: Real>(
    device: &Cpu,
    shape: S,
    fill: impl FnOnce(&mut [E]) -> Result<(), CpuError>,
) -> Result<Tensor<S, E, Cpu>, CpuError> {
    if let Some(kept) = kept() {
        let mut tensor = kept.try_zeros_like(&shape)?;
        fill(elements_mut(&mut tensor).ok_or(CpuError::WrongNumElements)?)?;
        return Ok(tensor);
    }
    let mut numbers = vec![E::zero(); shape.num_elements()];
    fill(&mut numbers)?;
    device.try_tensor_from_vec(numbers, shape)
}

/// What stays of a gradient that nothing reads any more: nothing where its memory can serve the
/// next one.
pub(super) fn spent<E: Real>(gradient: Vec<E>) -> Vec<E> {
    let Some(kept) = kept() else { return gradient };
    let shape = (gradient.len(),);
    // A tensor that ends leaves its memory in the cache.
    drop(kept.try_tensor_from_vec(gradient, shape));
    Vec::new()
}
