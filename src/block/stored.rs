//! A block without a declared type: operations as data, with weights that no training moves.

use std::sync::{Mutex, PoisonError};

use dfdx::prelude::Gradients;

use super::{AnyBlock, BlockState, Lowered};
use crate::{
    device::{Backend, Column, NamedValues, Real, Slot, Tensors, VisitMut},
    error::Error,
    plan::{Made, StoredOperation, fuse},
};

/// What makes a block without a type one of the device's.
type Erase<E, D> = fn(StoredBlock<E, D>) -> Box<<D as Backend<E>>::Block>;

/// A block whose operations are data.
pub(crate) struct StoredBlock<E: Real, D: Backend<E>> {
    state: BlockState<E, D>,
    operation: StoredOperation,
    weights: Weights<E, D>,
    kept: Mutex<Vec<Kept<E, D>>>,
    erase: Erase<E, D>,
}

impl<E: Real, D: Backend<E>> StoredBlock<E, D> {
    /// Block `t`, with tensors that are those of the operation's slots.
    pub(crate) fn new(
        t: usize,
        device: D,
        operation: StoredOperation,
        tensors: Vec<Column<E, D>>,
        erase: Erase<E, D>,
    ) -> Self {
        let state = BlockState::new(t, device);
        let paths = operation.slots().into_iter().map(|slot| (slot.path, slot.shape)).collect();
        let weights = Weights { paths, tensors };
        Self { state, operation, weights, kept: Mutex::default(), erase }
    }
}

/// What inference has made of the weights for calls of one kind.
struct Kept<E: Real, D: Backend<E>> {
    rows: usize,
    calls: usize,
    made: Made<E, D>,
}

/// For how many kinds of calls that is kept: full parts of an inference, the last part, one row.
const KINDS: usize = 3;

/// Tensors with their paths and shapes.
#[derive(Clone)]
struct Weights<E: Real, D: Backend<E>> {
    paths: Vec<(String, Vec<usize>)>,
    tensors: Vec<Column<E, D>>,
}

impl<E: Real, D: Backend<E>> Tensors<E, D> for Weights<E, D> {
    fn named(&self) -> Result<Vec<NamedValues<E, D>>, D::Err> {
        let named = self.paths.iter().zip(&self.tensors).map(|((path, shape), values)| {
            // Trained once, and counted among what a model has learned; running statistics are not.
            let trained = !path.ends_with("mean") && !path.ends_with("variance");
            let (path, shape, values) = (path.clone(), shape.clone(), values.clone());
            NamedValues { path, shape, trained, values }
        });
        Ok(named.collect())
    }

    fn visit_mut(&mut self, visit: &mut VisitMut<'_, E, D>) -> Result<(), D::Err> {
        self.tensors.iter_mut().try_for_each(|tensor| visit(Slot::Running(tensor)))
    }

    fn zero_gradients(&self, _: &mut Gradients<E, D>) -> Result<(), D::Err> {
        Ok(())
    }
}

impl<E: Real, D: Backend<E>> AnyBlock<E, D> for StoredBlock<E, D> {
    fn state(&self) -> &BlockState<E, D> {
        &self.state
    }

    fn parts(&mut self) -> (&mut BlockState<E, D>, &mut dyn Tensors<E, D>) {
        (&mut self.state, &mut self.weights)
    }

    fn tensors(&self) -> &dyn Tensors<E, D> {
        &self.weights
    }

    fn plan(&self) -> Lowered<'_, E, D> {
        self.operation.lower(&self.weights.tensors, &self.state.device)
    }

    fn prepared(&self, rows: usize, calls: usize) -> Lowered<'_, E, D> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |kept: &Kept<E, D>| kept.rows == rows && kept.calls == calls;
        let before = lock().iter().find(|kept| is(kept)).map(|kept| kept.made.again());
        let mut made = before.unwrap_or_default();
        let plan = fuse(self.plan()?, rows, calls, &mut made)?;
        let mut kept = lock();
        if !kept.iter().any(is) {
            kept.truncate(KINDS - 1);
            kept.insert(0, Kept { rows, calls, made });
        }
        Ok(plan)
    }

    fn plan_mut(&mut self) -> Lowered<'_, E, D> {
        self.plan()
    }

    fn copy(&self) -> Result<Box<D::Block>, Error> {
        let (operation, tensors) = (self.operation.clone(), self.weights.tensors.clone());
        let (t, device) = (self.state.t, self.state.device.clone());
        Ok((self.erase)(Self::new(t, device, operation, tensors, self.erase)))
    }
}
