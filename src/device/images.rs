//! Operations on images, channels last, in dfdx's own operations.

use dfdx::prelude::*;

use super::{Real, Window};

/// The windows, a row each, `[windows, K × K, C]`, and for each pixel of a window 1, or 0 in the padding,
/// `[windows × K × K]`; pixels of the padding hold some number.
#[allow(clippy::type_complexity)]
fn windows<X: Shape, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Tensor<X, E, D, T>,
    window: Window,
) -> Result<(Tensor<(usize, usize), E, D, T>, Tensor<(usize,), E, D>), D::Err> {
    let device = x.device().clone();
    let images = x.shape().num_elements() / window.image().max(1);
    let pixels = window.height * window.width;
    let places: Vec<Option<usize>> = window.pixels().collect();
    let all = || (0..images).flat_map(|image| places.iter().map(move |place| (image, place)));
    let index = all().map(|(image, place)| image * pixels + place.unwrap_or(0)).collect();
    let inside = all().map(|(_, place)| if place.is_some() { E::one() } else { E::zero() });
    let inside: Vec<E> = inside.collect();
    let count = (inside.len(),);
    let index: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(index, count)?;
    let inside = device.try_tensor_from_vec(inside, count)?;
    let x = x.try_reshape_like(&(images * pixels, window.channels))?;
    Ok((x.try_gather(index)?, inside))
}

pub(crate) fn plain_convolution<X: Shape, F: Shape, B: Shape, Y: Shape, E: Real, D: Device<E>, T>(
    x: Tensor<X, E, D, T>,
    (filter, bias): (&Tensor<F, E, D>, &Tensor<B, E, D>),
    window: Window,
    shape: Y,
) -> Result<Tensor<Y, E, D, T>, D::Err>
where
    T: Tape<E, D>,
{
    let filters = bias.shape().num_elements();
    let (patches, inside) = windows(x, window)?;
    let like = *patches.shape();
    let patches = patches.try_mul(inside.try_broadcast_like::<_, Axis<1>>(&like)?)?;
    let rows = like.0 / (window.kernel * window.kernel).max(1);
    let patches = patches.try_reshape_like(&(rows, window.patch()))?;
    let filter = filter.retaped::<T>().try_reshape_like(&(filters, window.patch()))?;
    let bias = bias.retaped::<T>().try_reshape_like(&(filters,))?;
    patches
        .try_matmul(filter.try_permute::<(usize, usize), Axes2<1, 0>>()?)?
        .try_add(bias.try_broadcast_like::<_, Axis<0>>(&(rows, filters))?)?
        .try_reshape_like(&shape)
}

pub(crate) fn plain_max_pool<X: Shape, Y: Shape, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Tensor<X, E, D, T>,
    window: Window,
    shape: Y,
) -> Result<Tensor<Y, E, D, T>, D::Err> {
    let (patches, inside) = windows(x, window)?;
    let like = *patches.shape();
    // What lies in the padding is far below all numbers.
    let below = inside.try_sub(E::one())?.try_mul(E::max_value().sqrt())?;
    let patches = patches.try_add(below.try_broadcast_like::<_, Axis<1>>(&like)?)?;
    let each = window.kernel * window.kernel;
    patches
        .try_reshape_like(&(like.0 / each.max(1), each, window.channels))?
        .try_max::<(usize, usize), Axis<1>>()?
        .try_reshape_like(&shape)
}

pub(crate) fn plain_average_pool<X: Shape, Y: Shape, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Tensor<X, E, D, T>,
    window: Window,
    shape: Y,
) -> Result<Tensor<Y, E, D, T>, D::Err> {
    let (patches, inside) = windows(x, window)?;
    let like = *patches.shape();
    let patches = patches.try_mul(inside.try_broadcast_like::<_, Axis<1>>(&like)?)?;
    let each = window.kernel * window.kernel;
    patches
        .try_reshape_like(&(like.0 / each.max(1), each, window.channels))?
        .try_mean::<(usize, usize), Axis<1>>()?
        .try_reshape_like(&shape)
}

#[allow(clippy::type_complexity)]
pub(crate) fn plain_batch_norm<S: Shape, C: Shape, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Tensor<S, E, D, T>,
    (scale, shift): (&Tensor<C, E, D>, &Tensor<C, E, D>),
    epsilon: f64,
) -> Result<(Tensor<S, E, D, T>, [Tensor<C, E, D>; 2]), D::Err> {
    let (shape, channels) = (*x.shape(), scale.shape().num_elements());
    let like = (shape.num_elements() / channels.max(1), channels);
    let x = x.try_reshape_like(&like)?;
    let mean = x.with_empty_tape().try_mean::<(usize,), Axis<0>>()?;
    let kept_mean = mean.retaped::<NoneTape>().try_reshape_like(scale.shape())?;
    let off = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&like)?)?;
    let variance = off.with_empty_tape().try_square()?.try_mean::<(usize,), Axis<0>>()?;
    let kept_variance = variance.retaped::<NoneTape>().try_reshape_like(scale.shape())?;
    let deviation = variance.try_add(E::of(epsilon))?.try_sqrt()?;
    let row = |row: &Tensor<C, E, D>| row.retaped::<T>().try_reshape_like(&(channels,));
    let y = off
        .try_div(deviation.try_broadcast_like::<_, Axis<0>>(&like)?)?
        .try_mul(row(scale)?.try_broadcast_like::<_, Axis<0>>(&like)?)?
        .try_add(row(shift)?.try_broadcast_like::<_, Axis<0>>(&like)?)?;
    Ok((y.try_reshape_like(&shape)?, [kept_mean, kept_variance]))
}

pub(crate) fn plain_scale_and_shift<S: Shape, C: Shape, E: Real, D: Device<E>>(
    x: Tensor<S, E, D>,
    factor: &Tensor<C, E, D>,
    shift: &Tensor<C, E, D>,
) -> Result<Tensor<S, E, D>, D::Err> {
    let (shape, channels) = (*x.shape(), factor.shape().num_elements());
    let like = (shape.num_elements() / channels.max(1), channels);
    let row = |row: &Tensor<C, E, D>| {
        row.clone().try_reshape_like(&(channels,))?.try_broadcast_like::<_, Axis<0>>(&like)
    };
    x.try_reshape_like(&like)?.try_mul(row(factor)?)?.try_add(row(shift)?)?.try_reshape_like(&shape)
}

pub(crate) fn plain_channels_last<X: Shape, Y: Shape, E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Tensor<X, E, D, T>,
    channels: usize,
    shape: Y,
) -> Result<Tensor<Y, E, D, T>, D::Err> {
    let numbers = x.shape().num_elements();
    let images = x.shape().concrete().into_iter().next().unwrap_or(1);
    let planes = (images, channels, numbers / (images * channels).max(1));
    let x = x.try_reshape_like(&planes)?;
    x.try_permute::<(usize, usize, usize), Axes3<0, 2, 1>>()?.try_reshape_like(&shape)
}
