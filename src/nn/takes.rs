//! Which layer takes which signal.

use dfdx::{
    nn::{
        BuildOnDevice, NumParams, RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor,
        ViewTensorRef,
    },
    prelude::{AutoDevice, Const, Shape, Tensor},
};

use super::{BuiltDense, Encoded, NoisedPass, Signal, StackPass, Width};
use crate::device::{Backend, Real, Rows};

/// A declared layer that takes the signal `In`, and what it makes of it.
///
/// This is how a model is checked: a tuple takes what its first layer takes, and each next layer has to take what
/// the one before gives. The trait is on declarations, such as [`Dense<64, 10>`](super::Dense), so that a message
/// of the compiler names them as the user wrote them.
///
/// The layers of this crate, those of dfdx that work on rows of numbers, tuples of up to six and any nesting of
/// them have it. For a module of your own use [`Custom`](super::Custom).
#[diagnostic::on_unimplemented(
    message = "the layer `{Self}` does not take a `{In}`",
    label = "a `{In}` arrives at `{Self}`",
    note = "`Width<N>` are N activations, `Width<N, Input>` is the input x, `Pair<Z, X>` are the latent z and the input x, `Timed<Z, X>` these two and the time t"
)]
pub trait Takes<In: Signal<E, D>, E: Real = f32, D: Backend<E> = AutoDevice>:
    BuildOnDevice<D, E>
{
    /// What comes out.
    type Out: Signal<E, D>;

    /// `S` itself, but known only where this layer takes `In`.
    ///
    /// Whatever is checked after this layer is checked through it, so that one mistake is reported once.
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;

    /// The layer's output in inference: nothing is recorded, dropout does nothing.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn infer(
        built: &Self::Built,
        input: In::Plain,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err>;

    /// The layer's output in training: recorded on the tape.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn train(
        built: &mut Self::Built,
        input: In::Traced,
    ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err>;

    /// The output in training added to `sum`, of which nobody else needs the numbers.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn train_onto(
        built: &mut Self::Built,
        input: In::Traced,
        sum: <Self::Out as Signal<E, D>>::Traced,
    ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err> {
        Self::Out::sum(sum, Self::train(built, input)?)
    }

    /// The part of the work in inference that depends on x alone, to be done once for many z and t; `None` if there is
    /// none.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn encode(built: &Self::Built, input: &In::Plain) -> Result<Option<Encoded>, D::Err> {
        let _ = (built, input);
        Ok(None)
    }

    /// The output in inference with what is known of the calls: the part that depends on x alone may be done already, in which case
    /// the times may be one for all rows, and linear layers in a row may be computed as one.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn infer_encoded(
        built: &Self::Built,
        input: In::Plain,
        encoded: &Encoded,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        let _ = encoded;
        Self::infer(built, input)
    }

    /// How many numbers a dense layer gives; 0 for any other layer.
    #[doc(hidden)]
    const DENSE: usize = 0;

    /// Whether the last layer is a dense one.
    #[doc(hidden)]
    const ENDS_DENSE: bool = false;

    /// The output in inference of this layer and the `next` one, which may be computed together.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    fn infer_then<L: Takes<Self::Out, E, D>>(
        built: &Self::Built,
        next: &L::Built,
        input: In::Plain,
        encoded: &Encoded,
    ) -> Result<<L::Out as Signal<E, D>>::Plain, D::Err> {
        L::infer_encoded(next, Self::infer_encoded(built, input, encoded)?, encoded)
    }

    /// What `next` makes of this layer's output, but for `next`'s bias, added to `sum`: where both are linear at the seam
    /// ([`ENDS_DENSE`](Self::ENDS_DENSE) here, and [`DENSE`](Self::DENSE) there); `None` elsewhere.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    #[allow(clippy::type_complexity)]
    fn infer_composed<L: Takes<Width<N>, E, D>, const N: usize>(
        built: &Self::Built,
        next: &L::Built,
        (input, sum): (In::Plain, <L::Out as Signal<E, D>>::Plain),
        encoded: &Encoded,
    ) -> Result<Option<<L::Out as Signal<E, D>>::Plain>, D::Err> {
        let _ = (built, next, input, sum, encoded);
        Ok(None)
    }

    /// W (V x + v) + `sum` for this dense layer's W and another's V and v; `None` for any other layer.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[doc(hidden)]
    #[allow(clippy::type_complexity)]
    fn infer_after<const I: usize, const N: usize>(
        built: &Self::Built,
        before: &BuiltDense<I, N, E, D>,
        (x, sum): (Rows<Const<I>, E, D>, <Self::Out as Signal<E, D>>::Plain),
        encoded: &Encoded,
    ) -> Result<Option<<Self::Out as Signal<E, D>>::Plain>, D::Err> {
        let _ = (built, before, x, sum, encoded);
        Ok(None)
    }

    /// Whether this layer has weights.
    #[doc(hidden)]
    const WEIGHTS: bool = true;

    /// Whether this is a product with weights, and nothing after it: a dense layer, a convolution.
    #[doc(hidden)]
    const LINEAR: bool = false;

    /// Whether this layer may draw from its input's device in training, as dropout does.
    #[doc(hidden)]
    const DRAWS: bool = true;

    /// A copy that shares the weights, to train on some rows of a batch beside the others; `None` where what comes out of
    /// a row depends on the others, as in batch normalisation, or on what is drawn.
    #[doc(hidden)]
    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        let _ = built;
        None
    }

    /// The output in a pass with noise on what the layers give: of a layer on its own by [`NoisedPass::layer`], of one made of
    /// layers by those.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn noised(
        built: &mut Self::Built,
        input: In::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
        if Self::WEIGHTS && built.num_trainable_params() > 0 {
            pass.layer::<In, Self::Out, _>(built, input, Self::train, Self::infer)
        } else {
            Self::infer(built, input)
        }
    }

    /// The output of several blocks at once, as [`StackPass`] has it; `built` is that of one of them. `None` for a layer that
    /// cannot do it: by default, one that has tensors of its own.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[allow(clippy::type_complexity)]
    fn stacked(
        built: &mut Self::Built,
        input: In::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<<Self::Out as Signal<E, D>>::Traced>, D::Err> {
        let _ = pass;
        if has_tensors(built)? { Ok(None) } else { Self::train(built, input).map(Some) }
    }
}

/// Whether a module has tensors, trained or not.
fn has_tensors<M: TensorCollection<E, D>, E: Real, D: Backend<E>>(
    module: &M,
) -> Result<bool, D::Err> {
    struct Any(bool);
    impl<E: Real, D: Backend<E>> TensorVisitor<E, D> for Any {
        type Viewer = ViewTensorRef;
        type Err = D::Err;
        type E2 = E;
        type D2 = D;

        fn visit<S: Shape>(
            &mut self,
            _: TensorOptions<S, E, D>,
            _: &Tensor<S, E, D>,
        ) -> Result<Option<Tensor<S, E, D>>, D::Err> {
            self.0 = true;
            Ok(None)
        }
    }
    let mut any = Any(false);
    M::iter_tensors(&mut RecursiveWalker { m: module, f: &mut any })?;
    Ok(any.0)
}

/// A whole block that takes the signal `In`: every layer that does.
///
/// One trait in front of [`Takes`] keeps the compiler's messages short.
pub trait Denoises<In: Signal<E, D>, E: Real = f32, D: Backend<E> = AutoDevice>:
    BuildOnDevice<D, E>
{
    /// What comes out, known only where the block takes `In`: [`Takes::Then`] of [`Takes::Out`].
    type Gives: Signal<E, D>;

    /// [`Takes::DRAWS`].
    #[doc(hidden)]
    const RANDOM: bool;

    /// [`Takes::rowwise`].
    #[doc(hidden)]
    fn by_rows(built: &Self::Built) -> Option<Self::Built>;

    /// The block's output in inference.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn denoise(
        built: &Self::Built,
        input: In::Plain,
    ) -> Result<<Self::Gives as Signal<E, D>>::Plain, D::Err>;

    /// The block's output in training.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn denoise_traced(
        built: &mut Self::Built,
        input: In::Traced,
    ) -> Result<<Self::Gives as Signal<E, D>>::Traced, D::Err>;

    /// [`Takes::encode`].
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn encode_input(built: &Self::Built, input: &In::Plain) -> Result<Option<Encoded>, D::Err>;

    /// [`Takes::infer_encoded`].
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn denoise_encoded(
        built: &Self::Built,
        input: In::Plain,
        encoded: &Encoded,
    ) -> Result<<Self::Gives as Signal<E, D>>::Plain, D::Err>;

    /// [`Takes::noised`].
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn denoise_noised(
        built: &mut Self::Built,
        input: In::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<<Self::Gives as Signal<E, D>>::Plain, D::Err>;

    /// [`Takes::stacked`].
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    #[allow(clippy::type_complexity)]
    fn denoise_stacked(
        built: &mut Self::Built,
        input: In::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<<Self::Gives as Signal<E, D>>::Traced>, D::Err>;
}

impl<M: Takes<In, E, D>, In: Signal<E, D>, E: Real, D: Backend<E>> Denoises<In, E, D> for M {
    type Gives = M::Then<M::Out>;
    const RANDOM: bool = M::DRAWS;

    fn by_rows(built: &Self::Built) -> Option<Self::Built> {
        M::rowwise(built)
    }

    fn denoise(
        built: &Self::Built,
        input: In::Plain,
    ) -> Result<<M::Out as Signal<E, D>>::Plain, D::Err> {
        M::infer(built, input)
    }

    fn denoise_traced(
        built: &mut Self::Built,
        input: In::Traced,
    ) -> Result<<M::Out as Signal<E, D>>::Traced, D::Err> {
        M::train(built, input)
    }

    fn encode_input(built: &Self::Built, input: &In::Plain) -> Result<Option<Encoded>, D::Err> {
        M::encode(built, input)
    }

    fn denoise_encoded(
        built: &Self::Built,
        input: In::Plain,
        encoded: &Encoded,
    ) -> Result<<M::Out as Signal<E, D>>::Plain, D::Err> {
        M::infer_encoded(built, input, encoded)
    }

    fn denoise_noised(
        built: &mut Self::Built,
        input: In::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<<M::Out as Signal<E, D>>::Plain, D::Err> {
        M::noised(built, input, pass)
    }

    fn denoise_stacked(
        built: &mut Self::Built,
        input: In::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<<M::Out as Signal<E, D>>::Traced>, D::Err> {
        M::stacked(built, input, pass)
    }
}
