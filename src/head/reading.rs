//! How a head embeds targets and reads outputs, with widths as numbers.

use dfdx::prelude::*;

use super::{Evaluation, classes, regression};
use crate::{
    data::TargetRows,
    device::{Backend, Matrix, Real},
};

/// What a block's output stands for, and how targets lie in the latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Reading {
    kind: Kind,
    /// Z.
    pub(crate) latent: usize,
    /// How wide an output is: C logits, or Z numbers.
    pub(crate) outputs: usize,
}

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
enum Kind {
    /// Classes as unit vectors.
    OneHot,
    /// Classes as given rows, or as trained ones.
    Embedded { learned: bool },
    /// Numbers, which are the latent itself.
    Numbers,
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { latent, outputs, .. } = self;
        match self.kind {
            Kind::OneHot => write!(f, "{outputs} classes, one-hot"),
            Kind::Embedded { learned: true } => {
                write!(f, "{outputs} classes with a learned embedding {latent} wide")
            }
            Kind::Embedded { .. } => write!(f, "{outputs} classes with prototypes {latent} wide"),
            Kind::Numbers => write!(f, "{outputs} numbers"),
        }
    }
}

impl Reading {
    /// Whether the widths of a file suit each other: what was expected, and what is there.
    #[cfg(feature = "inference")]
    pub(crate) fn check(self) -> Result<(), (String, String)> {
        let square = matches!(self.kind, Kind::OneHot | Kind::Numbers);
        let Self { latent, outputs, .. } = self;
        if latent == 0 || outputs == 0 || (square && latent != outputs) {
            let expected = match square {
                true => "a latent as wide as the outputs",
                false => "a latent and outputs of 1 number or more",
            };
            return Err((expected.to_owned(), format!("{latent} and {outputs}")));
        }
        Ok(())
    }

    pub(super) fn one_hot_classes(classes: usize) -> Self {
        Self { kind: Kind::OneHot, latent: classes, outputs: classes }
    }

    pub(super) fn embedded(classes: usize, latent: usize, learned: bool) -> Self {
        Self { kind: Kind::Embedded { learned }, latent, outputs: classes }
    }

    pub(super) fn numbers(latent: usize) -> Self {
        Self { kind: Kind::Numbers, latent, outputs: latent }
    }

    /// The shape of the embedding. Numbers have none: one row stands for it.
    pub(crate) fn embedding_shape(self) -> (usize, usize) {
        (if self.has_classes() { self.outputs } else { 1 }, self.latent)
    }

    /// Whether the embedding is trained.
    pub(crate) fn is_learned(self) -> bool {
        self.kind == Kind::Embedded { learned: true }
    }

    /// Whether the targets are classes.
    pub(crate) fn has_classes(self) -> bool {
        self.kind != Kind::Numbers
    }

    /// Whether û is softmax(o) W with rows W of their own, and not softmax(o) itself.
    #[cfg(feature = "onnx")]
    pub(crate) fn has_rows(self) -> bool {
        matches!(self.kind, Kind::Embedded { .. })
    }

    /// u for each row, row-major, `[rows, Z]`, by the embedding W, `[C, Z]`.
    pub(crate) fn embed<E: Real>(self, embedding: &[E], targets: &TargetRows<'_, E>) -> Vec<E> {
        match self.kind {
            Kind::Numbers => targets.values().to_vec(),
            _ => classes::embed(embedding, self.latent, targets.labels()),
        }
    }

    /// One row of C numbers for each target, 1 at its class and 0 elsewhere; empty for numbers.
    pub(crate) fn one_hot<E: Real>(self, targets: &TargetRows<'_, E>) -> Vec<E> {
        classes::one_hot(self.outputs, targets.labels())
    }

    /// û, `[batch, Z]`, from a block's output o, `[batch, Out]`: softmax(o) W for classes, o for
    /// numbers.
    pub(crate) fn estimate<E: Real, D: Backend<E>, T: Tape<E, D>>(
        self,
        output: Matrix<E, D, T>,
        embedding: &Matrix<E, D>,
    ) -> Result<Matrix<E, D, T>, D::Err> {
        match self.kind {
            Kind::Numbers => Ok(output),
            Kind::OneHot => D::softmax(output),
            Kind::Embedded { .. } => D::softmax(output)?.try_matmul(embedding.retaped::<T>()),
        }
    }

    /// The answer of a latent, `[batch, Out]`, before [`answer`](Self::answer): for classes the
    /// logits κ (z · u_c − ‖u_c‖² / 2), which are −κ ‖z − u_c‖² / 2 but for what all classes share;
    /// for numbers z itself.
    pub(crate) fn read<E: Real, D: Backend<E>, T: Tape<E, D>>(
        self,
        latent: Matrix<E, D, T>,
        embedding: &Matrix<E, D>,
        sharpness: f64,
    ) -> Result<Matrix<E, D, T>, D::Err> {
        if self.kind == Kind::Numbers {
            return Ok(latent);
        }
        let shape = (latent.shape().0, self.outputs);
        let norms = embedding.retaped::<T>().try_square()?.try_sum::<(usize,), Axis<1>>()?;
        let norms = norms.try_mul(E::of(0.5))?.try_broadcast_like::<_, Axis<0>>(&shape)?;
        let turned = embedding.retaped::<T>().try_permute::<(usize, usize), Axes2<1, 0>>()?;
        latent.try_matmul(turned)?.try_sub(norms)?.try_mul(E::of(sharpness))
    }

    /// The model's answer, `[batch, Out]`, from a block's output: probabilities, or the numbers as
    /// they are.
    pub(crate) fn answer<E: Real, D: Backend<E>>(
        self,
        output: Matrix<E, D>,
    ) -> Result<Matrix<E, D>, D::Err> {
        if self.has_classes() { D::softmax(output) } else { Ok(output) }
    }

    /// The weight of each target, from one for each class; empty for numbers.
    pub(crate) fn row_weights<E: Real>(
        self,
        targets: &TargetRows<'_, E>,
        by_class: &[f64],
    ) -> Vec<E> {
        targets.labels().iter().map(|&y| E::of(by_class[y as usize])).collect()
    }

    /// How many rows of a block's output have their largest number at the right class; 0 for
    /// numbers.
    pub(crate) fn correct<E: Real>(self, output: &[E], targets: &TargetRows<'_, E>) -> usize {
        let predicted = classes::predictions(self.outputs, output);
        predicted.iter().zip(targets.labels()).filter(|(a, b)| a == b).count()
    }

    /// Answers against the truth; `calls` is how often the network was called for a row.
    pub(crate) fn evaluate<E: Real>(
        self,
        answers: &[E],
        targets: &TargetRows<'_, E>,
        calls: f64,
    ) -> Evaluation {
        match targets {
            TargetRows::Labels(labels) => {
                classes::evaluate(self.outputs, answers, labels, calls).into()
            }
            TargetRows::Values(values, width) => {
                regression::evaluate(*width, answers, values, calls).into()
            }
        }
    }
}
