//! Operations on images, channels last, in dfdx's own operations.

use dfdx::prelude::*;

use super::{Column, Filters, Matrix, Real, Window};

/// A normalised batch, with the mean and the biased variance of each channel.
pub(crate) type Normalised<E, D, T> = (Matrix<E, D, T>, [Column<E, D>; 2]);

/// Numbers of windows: images or windows, pixels, channels.
type Windows<E, D, T> = Tensor<(usize, usize, usize), E, D, T>;

/// The pixels of all windows, `[images, windows × K × K, C]`; those of the padding are `padding`.
///
/// The index is one for all images, so that it is small: what a batch's would take to a GPU is more
/// than the images.
fn windows<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    window: Window,
    padding: E,
) -> Result<Windows<E, D, T>, D::Err> {
    let (device, channels) = (x.device().clone(), window.channels);
    let images = x.shape().num_elements() / window.image().max(1);
    let pixels = window.height * window.width;
    let mut x = x.try_reshape_like(&(images, pixels, channels))?;
    // What lies outside of the image is one more pixel of it.
    let places: Vec<usize> = window.pixels().map(|place| place.unwrap_or(pixels)).collect();
    if places.contains(&pixels) {
        let outside = device.try_tensor_from_vec(vec![padding], ())?;
        let outside = outside.try_broadcast_like::<_, Axes3<0, 1, 2>>(&(images, 1, channels))?;
        x = (x, outside).try_concat_along(Axis::<1>)?;
    }
    let count = places.len();
    let index: Tensor<(usize,), usize, D> = device.try_tensor_from_vec(places, (count,))?;
    x.try_gather(index.try_broadcast_like::<_, Axis<0>>(&(images, count))?)
}

pub(crate) fn plain_convolution<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    filter: &Filters<E, D>,
    bias: &Column<E, D>,
    window: Window,
    input_gradient: bool,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = (x.shape().0, window.windows() * bias.shape().0);
    let filters = bias.shape().num_elements();
    let patches = plain_patches(x, window, input_gradient)?;
    let rows = patches.shape().0;
    let filter = filter.retaped::<T>().try_reshape_like(&(filters, window.patch()))?;
    let bias = bias.retaped::<T>().try_reshape_like(&(filters,))?;
    patches
        .try_matmul(filter.try_permute::<(usize, usize), Axes2<1, 0>>()?)?
        .try_add(bias.try_broadcast_like::<_, Axis<0>>(&(rows, filters))?)?
        .try_reshape_like(&shape)
}

/// The windows that a convolution multiplies its filters with, a row each,
/// `[images × windows, K × K × C]`; the way back to the images is recorded only where something
/// asks for their gradient.
pub(crate) fn plain_patches<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    window: Window,
    input_gradient: bool,
) -> Result<Matrix<E, D, T>, D::Err> {
    let patches = if input_gradient {
        windows(x, window, E::zero())?
    } else {
        let (x, tape) = x.split_tape();
        windows(x, window, E::zero())?.put_tape(tape)
    };
    let rows = patches.shape().0 * window.windows();
    patches.try_reshape_like(&(rows, window.patch()))
}

/// The pixels of each window, `[images × windows, K × K, C]`.
fn pooled<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    window: Window,
    padding: E,
) -> Result<Windows<E, D, T>, D::Err> {
    let pixels = windows(x, window, padding)?;
    let rows = pixels.shape().0 * window.windows();
    pixels.try_reshape_like(&(rows, window.kernel * window.kernel, window.channels))
}

pub(crate) fn plain_max_pool<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    window: Window,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = (x.shape().0, window.pooled());
    // What lies in the padding is below all numbers.
    let pixels = pooled(x, window, -E::infinity())?;
    pixels.try_max::<(usize, usize), Axis<1>>()?.try_reshape_like(&shape)
}

pub(crate) fn plain_average_pool<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    window: Window,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = (x.shape().0, window.pooled());
    let pixels = pooled(x, window, E::zero())?;
    pixels.try_mean::<(usize, usize), Axis<1>>()?.try_reshape_like(&shape)
}

pub(crate) fn plain_batch_norm<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    scale: &Column<E, D>,
    shift: &Column<E, D>,
    epsilon: f64,
) -> Result<Normalised<E, D, T>, D::Err> {
    let (shape, channels) = (*x.shape(), scale.shape().num_elements());
    let like = (shape.num_elements() / channels.max(1), channels);
    let x = x.try_reshape_like(&like)?;
    let mean = x.with_empty_tape().try_mean::<(usize,), Axis<0>>()?;
    let kept_mean = mean.retaped::<NoneTape>().try_reshape_like(scale.shape())?;
    let off = x.try_sub(mean.try_broadcast_like::<_, Axis<0>>(&like)?)?;
    let variance = off.with_empty_tape().try_square()?.try_mean::<(usize,), Axis<0>>()?;
    let kept_variance = variance.retaped::<NoneTape>().try_reshape_like(scale.shape())?;
    let deviation = variance.try_add(E::of(epsilon))?.try_sqrt()?;
    let row = |row: &Column<E, D>| row.retaped::<T>().try_reshape_like(&(channels,));
    let y = off
        .try_div(deviation.try_broadcast_like::<_, Axis<0>>(&like)?)?
        .try_mul(row(scale)?.try_broadcast_like::<_, Axis<0>>(&like)?)?
        .try_add(row(shift)?.try_broadcast_like::<_, Axis<0>>(&like)?)?;
    Ok((y.try_reshape_like(&shape)?, [kept_mean, kept_variance]))
}

pub(crate) fn plain_scale_and_shift<E: Real, D: Device<E>>(
    x: Matrix<E, D>,
    factor: &Column<E, D>,
    shift: &Column<E, D>,
) -> Result<Matrix<E, D>, D::Err> {
    let (shape, channels) = (*x.shape(), factor.shape().num_elements());
    let like = (shape.num_elements() / channels.max(1), channels);
    let row = |row: &Column<E, D>| {
        row.clone().try_reshape_like(&(channels,))?.try_broadcast_like::<_, Axis<0>>(&like)
    };
    x.try_reshape_like(&like)?.try_mul(row(factor)?)?.try_add(row(shift)?)?.try_reshape_like(&shape)
}

pub(crate) fn plain_channels_last<E: Real, D: Device<E>, T: Tape<E, D>>(
    x: Matrix<E, D, T>,
    channels: usize,
) -> Result<Matrix<E, D, T>, D::Err> {
    let shape = *x.shape();
    let planes = (shape.0, channels, shape.1 / channels.max(1));
    let x = x.try_reshape_like(&planes)?;
    x.try_permute::<(usize, usize, usize), Axes3<0, 2, 1>>()?.try_reshape_like(&shape)
}
