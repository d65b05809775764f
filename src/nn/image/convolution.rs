//! The 2-D convolution.

use dfdx::{
    nn::{BuildOnDevice, Module, ModuleVisitor, NonMutableModule, TensorCollection, TensorOptions},
    prelude::*,
};
use rand_distr::Uniform;

use super::{
    Image, Images, rows,
    size::{On, windows},
};
use crate::{
    device::{Backend, Real, Window},
    nn::{Kind, Misfit, Signal, Takes},
    plan::{Borrowed, Convolution, Lowered, Operation, handle},
};

/// A convolution from `IN` channels to `OUT`, onto an image of `H` × `W` pixels, with kernels of
/// side `K` (3), stride `S` (1) and padding `P` (1) of zeros:
///
/// y_ijo = b_o + Σ f_oklc x[i S + k − P, j S + l − P, c] over k, l, c
///
/// With the three last left out the image keeps its size. H = ⌊(H_in + 2 P − K) / S⌋ + 1, and W
/// likewise. Filters and bias start uniform in ±1/√(K² IN).
///
/// ```
/// use dfdx_noprop::{nn::image::{Conv2d, Images}, prelude::*};
/// use dfdx::nn::DeviceBuildExt;
///
/// let dev = AutoDevice::default();
/// let layer = dev.build_module::<Conv2d<3, 8, 16, 16, 3, 2, 1>, f32>();
/// let images: Images<3, 32, 32, f32, _> = dev.sample_normal_like(&(5, Const, Const, Const));
/// let halved: Images<8, 16, 16, f32, _> = layer.forward(images);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conv2d<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize = 3,
    const S: usize = 1,
    const P: usize = 1,
>;

/// What [`Conv2d`] builds.
#[derive(Clone, Debug)]
pub struct BuiltConv2d<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Dtype,
    D: Storage<E>,
> {
    /// f, `[OUT, K, K, IN]`.
    pub weight: Tensor<Rank4<OUT, K, K, IN>, E, D>,
    /// b, `[OUT]`.
    pub bias: Tensor<Rank1<OUT>, E, D>,
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Real,
    D: Device<E>,
> BuildOnDevice<D, E> for Conv2d<IN, OUT, H, W, K, S, P>
{
    type Built = BuiltConv2d<IN, OUT, H, W, K, S, P, E, D>;
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Real,
    D: Device<E>,
> TensorCollection<E, D> for BuiltConv2d<IN, OUT, H, W, K, S, P, E, D>
{
    type To<E2: Dtype, D2: Device<E2>> = BuiltConv2d<IN, OUT, H, W, K, S, P, E2, D2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor(
                    "weight",
                    |s| &s.weight,
                    |s| &mut s.weight,
                    TensorOptions::reset_with(|t| t.try_fill_with_distr(fan_in::<IN, K, E>())),
                ),
                Self::tensor(
                    "bias",
                    |s| &s.bias,
                    |s| &mut s.bias,
                    TensorOptions::reset_with(|t| t.try_fill_with_distr(fan_in::<IN, K, E>())),
                ),
            ),
            |(weight, bias)| BuiltConv2d { weight, bias },
        )
    }
}

/// Uniform in ±1/√(K² IN).
fn fan_in<const IN: usize, const K: usize, E: Real>() -> Uniform<E> {
    let bound = E::of(1.0 / ((K * K * IN).max(1) as f64).sqrt());
    Uniform::new_inclusive(-bound, bound)
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
> Conv2d<IN, OUT, H, W, K, S, P>
{
    /// On images of `H0` × `W0` pixels.
    fn window<const H0: usize, const W0: usize>() -> Window {
        On::<Self, H0, W0>::WINDOW
    }

    /// On images of this height and width.
    const fn at([height, width]: [usize; 2]) -> Window {
        Window {
            height,
            width,
            channels: IN,
            kernel: K,
            stride: S,
            padding: P,
            out_height: H,
            out_width: W,
        }
    }
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    const H0: usize,
    const W0: usize,
> On<Conv2d<IN, OUT, H, W, K, S, P>, H0, W0>
{
    const WINDOW: Window = {
        let window = Conv2d::<IN, OUT, H, W, K, S, P>::at([H0, W0]);
        windows("Conv2d", window).check();
        window
    };
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Real,
    D: Backend<E>,
> BuiltConv2d<IN, OUT, H, W, K, S, P, E, D>
{
    fn convolve<const H0: usize, const W0: usize, T: Tape<E, D>>(
        &self,
        x: Images<IN, H0, W0, E, D, T>,
    ) -> Result<Images<OUT, H, W, E, D, T>, D::Err> {
        let window = Conv2d::<IN, OUT, H, W, K, S, P>::window::<H0, W0>();
        let (filter, bias) = (handle(&self.weight, (OUT, K, K, IN))?, handle(&self.bias, (OUT,))?);
        let shape = (x.shape().0, Const, Const, Const);
        D::convolution(rows(x)?, &filter, &bias, window, true)?.try_reshape_like(&shape)
    }
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Dtype,
    D: Storage<E>,
> NonMutableModule for BuiltConv2d<IN, OUT, H, W, K, S, P, E, D>
{
}

impl<
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    const H0: usize,
    const W0: usize,
    E: Real,
    D: Backend<E>,
    T: Tape<E, D>,
> Module<Images<IN, H0, W0, E, D, T>> for BuiltConv2d<IN, OUT, H, W, K, S, P, E, D>
{
    type Output = Images<OUT, H, W, E, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Images<IN, H0, W0, E, D, T>) -> Result<Self::Output, D::Err> {
        self.convolve(x)
    }
}

/// An image of `C` channels, for the convolution `Layer`.
#[diagnostic::on_unimplemented(
    message = "the layer `{Layer}` does not take a `{Self}`",
    label = "a `{Self}` arrives, and an image of {C} channels is needed",
    note = "`Image<C, H, W>` are images of C channels; `Planes<C, H, W>` makes them of the input x"
)]
pub trait Convolves<const C: usize, Layer, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
    /// `S` itself, but known only where the convolution takes this signal.
    type Then<S: Signal<E, D>>: Signal<E, D, Traced = S::Traced, Plain = S::Plain>;

    /// How high and wide the image is.
    #[doc(hidden)]
    const SIZE: [usize; 2];

    /// Where that layer looks.
    #[doc(hidden)]
    fn window<
        const OUT: usize,
        const H: usize,
        const W: usize,
        const K: usize,
        const S: usize,
        const P: usize,
    >() -> Window;
}

impl<Layer, const C: usize, const H0: usize, const W0: usize, Q: Kind, E: Real, D: Backend<E>>
    Convolves<C, Layer, E, D> for Image<C, H0, W0, Q>
{
    type Then<Z: Signal<E, D>> = Z;
    const SIZE: [usize; 2] = [H0, W0];

    fn window<
        const OUT: usize,
        const H: usize,
        const W: usize,
        const K: usize,
        const S: usize,
        const P: usize,
    >() -> Window {
        Conv2d::<C, OUT, H, W, K, S, P>::window::<H0, W0>()
    }
}

impl<
    In,
    const IN: usize,
    const OUT: usize,
    const H: usize,
    const W: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    E: Real,
    D: Backend<E>,
> Takes<In, E, D> for Conv2d<IN, OUT, H, W, K, S, P>
where
    In: Convolves<IN, Self, E, D>,
{
    type Out = Image<OUT, H, W>;
    type Then<Z: Signal<E, D>> = In::Then<Z>;
    const MISFIT: Misfit = windows("Conv2d", Self::at(In::SIZE));

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let window = In::window::<OUT, H, W, K, S, P>();
        let built = built.get();
        Ok(Operation::Convolution(Box::new(Convolution {
            filter: handle(&built.weight, (OUT, K, K, IN))?,
            bias: handle(&built.bias, (OUT,))?,
            window,
        })))
    }
}
