//! Models as ONNX graphs.

use std::path::Path;

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    nn::Layer,
    onnx::Exported,
    variant::Variant,
};

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// Writes the model as one ONNX graph, which onnxruntime and others run without this crate.
    ///
    /// The input `x` is `[batch, X]` in f32, with a free batch. The output is `probabilities`,
    /// `[batch, C]`, as [`predict_proba`](Self::predict_proba) answers, or for numbers `values`,
    /// `[batch, Z]`, as [`predict`](Self::predict) does. In between lies the whole way from noise
    /// to target: the blocks, or the steps of the solver, each with its calls of
    /// the network, whose weights are stored once. The operators are those of opset 17.
    ///
    /// For the averages of the weights export [`averaged`](Self::averaged). The file is written
    /// under another name, synced and renamed.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let digits = data::digits()?;
    /// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// model.fit(&digits.train, &Fit { epochs: 1, ..Fit::default() })?;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("digits.onnx");
    /// model.export_onnx(&path)?;
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] names a setting that a graph cannot follow: noise in inference
    /// ([`Sampler::Stochastic`](crate::variant::Sampler),
    /// [`Inference::Sde`](crate::variant::Inference)), and a solver with
    /// [`Steps::Adaptive`](crate::solver::Steps), or with more than 10,000 calls.
    /// [`Error::Argument`] for a layer that ONNX does not have
    /// ([`Custom`](crate::nn::Custom)), for a graph of more than 2 GiB, and
    /// for blocks on several ranks. [`Error::NotFinite`] for weights that f32 cannot hold;
    /// [`Error::Io`] for a file that cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let operation = "NoProp::export_onnx";
        self.counters.check_whole(operation)?;
        if self.communicator().is_some() {
            let expected = "all blocks in this process: save the model, and load it without ranks";
            return Err(Error::argument(operation, expected, "blocks on several ranks"));
        }
        // A model does not know what its classes are called, nor in which units its rows came.
        let asked = &self.asked(&[]);
        let exported = Exported { asked, inputs: None, targets: None, class_names: &[] };
        self.engine.export_onnx(&exported, path.as_ref())
    }
}
