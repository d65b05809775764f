//! A block without a declared type: operations as data, with weights that no training moves.

use std::sync::{Arc, Mutex, PoisonError};

use dfdx::prelude::Gradients;

use super::{AnyBlock, BlockState, Lowered};
use crate::{
    device::{Backend, Column, NamedValues, Real, Slot, Tensors, VisitMut},
    error::Error,
    plan::{Kept, KeptPlan, Prepared, StoredOperation, fuse},
};

/// What makes a block without a type one of the device's.
type Erase<E, D> = fn(StoredBlock<E, D>) -> Box<<D as Backend<E>>::Block>;

/// A block whose operations are data.
pub(crate) struct StoredBlock<E: Real, D: Backend<E>> {
    state: BlockState<E, D>,
    operation: StoredOperation,
    weights: Weights<E, D>,
    kept: Mutex<Vec<KeptFor<E, D>>>,
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
struct KeptFor<E: Real, D: Backend<E>> {
    rows: usize,
    calls: usize,
    plan: Arc<KeptPlan<E, D>>,
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

    fn prepared(&self, rows: usize, calls: usize) -> Result<Prepared<'_, E, D>, D::Err> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |kept: &KeptFor<E, D>| kept.rows == rows && kept.calls == calls;
        if let Some(kept) = lock().iter().find(|kept| is(kept)) {
            return Ok(Prepared::Kept(Kept(kept.plan.clone())));
        }
        let plan = self.operation.lower(&self.weights.tensors, &self.state.device)?;
        // SAFETY: it comes from stored operations.
        let plan = Arc::new(unsafe { KeptPlan::new(fuse(plan, rows, calls)?) });
        let mut kept = lock();
        if !kept.iter().any(is) {
            kept.truncate(KINDS - 1);
            kept.insert(0, KeptFor { rows, calls, plan: plan.clone() });
        }
        Ok(Prepared::Kept(Kept(plan)))
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
