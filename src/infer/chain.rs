//! The ways through blocks, one after the other.

use crate::{
    device::{Backend, Real},
    head::Reading,
    variant::{
        Denoiser, Discrete, ReverseProcess, ReverseVariance, Sampler, Transition, VectorField,
    },
};

/// A way from noise to target: through blocks, or along a vector field.
pub(super) enum Route<'a, E: Real, D: Backend<E>> {
    Chain(Chain<'a>),
    Field(&'a dyn VectorField<E, D>),
}

impl<'a, E: Real, D: Backend<E>> Route<'a, E, D> {
    pub(super) fn of(process: &'a dyn ReverseProcess<E, D>) -> Self {
        match process.transition() {
            Transition::Blocks(discrete) => Self::Chain(Chain::Discrete(discrete)),
            Transition::Denoiser(denoiser) => Self::Chain(Chain::Denoiser(denoiser)),
            Transition::Field(field) => Self::Field(field),
        }
    }
}

/// Blocks that each take z nearer to the target.
#[derive(Clone, Copy)]
pub(super) enum Chain<'a> {
    /// In steps of discrete time.
    Discrete(&'a Discrete),
    /// From one noise level to the next.
    Denoiser(&'a Denoiser),
}

impl Chain<'_> {
    /// How targets are embedded and outputs read.
    pub(super) fn reading(self) -> Reading {
        match self {
            Self::Discrete(discrete) => discrete.setup.reading,
            Self::Denoiser(denoiser) => denoiser.setup.reading,
        }
    }

    /// Whether there is noise.
    pub(super) fn sampler(self) -> Sampler {
        match self {
            Self::Discrete(discrete) => discrete.sampler,
            Self::Denoiser(denoiser) => denoiser.sampler,
        }
    }

    /// How wide the noise of a step is; there is none on the way between noise levels.
    pub(super) fn reverse_variance(self) -> ReverseVariance {
        match self {
            Self::Discrete(discrete) => discrete.reverse_variance,
            Self::Denoiser(_) => ReverseVariance::Posterior,
        }
    }

    /// How many blocks there are.
    pub(super) fn blocks(self) -> usize {
        match self {
            Self::Discrete(discrete) => discrete.levels.blocks(),
            Self::Denoiser(denoiser) => denoiser.setup.blocks,
        }
    }

    /// Those that change z, counted from 1.
    pub(super) fn moving(self) -> Vec<usize> {
        match self {
            Self::Discrete(discrete) => discrete.levels.moving().collect(),
            Self::Denoiser(denoiser) => (1..=denoiser.setup.blocks).collect(),
        }
    }

    /// How often one of them is called for a row.
    pub(super) fn calls(self) -> usize {
        match self {
            Self::Discrete(_) => 1,
            Self::Denoiser(denoiser) => denoiser.calls(),
        }
    }

    /// z at the start from draws of N(0, I).
    pub(super) fn start<E: Real>(self, mut normals: Vec<E>) -> Vec<E> {
        if let Self::Denoiser(denoiser) = self {
            let most = E::of(denoiser.start());
            normals.iter_mut().for_each(|z| *z *= most);
        }
        normals
    }
}
