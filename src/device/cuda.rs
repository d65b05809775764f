//! The GPU: dfdx's own operations, one block after the other.

use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::{Backend, Execute, Lanes, Matrix, Real, Workers, lanes};

impl<E: Real> Backend<E> for Cuda
where
    Cuda: Device<E>,
{
    type Block = dyn crate::block::AnyBlock<E, Self>;
    const STACKS: bool = true;

    /// The device as it is: a new one would be a new CUDA context, so dropout draws from the
    /// device's one stream.
    fn seeded(&self, _seed: u64) -> Self {
        self.clone()
    }

    /// The tensor as it is: dfdx would copy it to the host and back.
    fn own<S: Shape>(&self, tensor: &Tensor<S, E, Self>) -> Result<Tensor<S, E, Self>, Self::Err> {
        Ok(tensor.clone())
    }

    fn normals(
        &self,
        seed: u64,
        kept: &mut Option<Lanes<Self>>,
        streams: &mut [ChaCha8Rng],
        shape: (usize, usize),
    ) -> Result<Matrix<E, Self>, Self::Err> {
        lanes::normals(self, seed, kept, streams, shape)
    }
}

/// In order: neither the device nor its tensors can go to another thread.
impl<U> Execute<U> for Cuda {
    fn each<R: Send>(
        units: &mut [U],
        _workers: &Workers,
        work: &(dyn Fn(usize, &mut U) -> R + Sync),
    ) -> Vec<R> {
        units.iter_mut().enumerate().map(|(i, unit)| work(i, unit)).collect()
    }

    fn map<R: Send>(units: &[U], jobs: usize, work: &(dyn Fn(&[U], usize) -> R + Sync)) -> Vec<R> {
        (0..jobs).map(|job| work(units, job)).collect()
    }
}
