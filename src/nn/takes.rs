//! Which layer takes which signal.

use std::{
    any::Any,
    cell::{Cell, RefCell},
};

use dfdx::{
    nn::{
        BuildOnDevice, NumParams, RecursiveWalker, TensorCollection, TensorOptions, TensorVisitor,
        ViewTensorRef,
    },
    prelude::{AutoDevice, Shape, Tensor},
};

use super::{NoisedPass, Signal, StackPass};
use crate::device::{Backend, Real};

/// What a layer makes of the input x alone, and of the last time alone, kept by the layer that made it.
#[derive(Debug)]
pub struct Encoded {
    x: Box<dyn Any>,
    /// The time of all rows in the call to come, if it is one.
    now: Cell<Option<f64>>,
    time: RefCell<Option<(f64, Box<dyn Any>)>>,
}

impl Encoded {
    pub(super) fn new(value: impl Any) -> Self {
        Self { x: Box::new(value), now: Cell::new(None), time: RefCell::new(None) }
    }

    /// What was kept, if this is its type.
    pub(super) fn get<T: Any + Clone>(&self) -> Option<T> {
        self.x.downcast_ref().cloned()
    }

    /// All rows of the next call have this time.
    pub(crate) fn at(&self, t: f64) {
        self.now.set(Some(t));
    }

    /// What is made of the time: what the last call made of it, if that had the same.
    pub(super) fn of_time<T: Any + Clone, Err>(
        &self,
        make: impl FnOnce() -> Result<T, Err>,
    ) -> Result<T, Err> {
        let now = self.now.take();
        let kept = self.time.borrow_mut().take_if(|(time, _)| Some(*time) == now);
        if let Some((time, value)) = kept
            && let Some(last) = value.downcast_ref().cloned()
        {
            self.time.replace(Some((time, value)));
            return Ok(last);
        }
        let value = make()?;
        if let Some(now) = now {
            self.time.replace(Some((now, Box::new(value.clone()))));
        }
        Ok(value)
    }
}

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

    /// The part of the work in inference that depends on x alone, to be done once for many z and t; `None` if there is
    /// none.
    ///
    /// # Errors
    /// The device's own, for lack of memory.
    fn encode(built: &Self::Built, input: &In::Plain) -> Result<Option<Encoded>, D::Err> {
        let _ = (built, input);
        Ok(None)
    }

    /// The output in inference, with the part that depends on x alone already done; the times may be one for all rows.
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
