//! Images changed at random, so that a network does not learn them by heart.

use rand::Rng;

use crate::{device::Real, nn::image::check_numbers};

/// Shifts reach no further: past every image, and a number on every platform.
const FARTHEST: usize = i32::MAX as usize;

/// Images of `C` planes of `H` × `W` pixels, one plane after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pixels<const C: usize, const H: usize, const W: usize>;

/// Changes to images, drawn for each anew: for
/// [`each_batch`](crate::train::Training::each_batch). Nothing is changed by default.
///
/// ```
/// use dfdx_noprop::{data::{Augment, Pixels}, prelude::*};
///
/// let augment = Augment { shift: 1, ..Augment::default() };
/// let digits = data::digits()?;
/// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
/// let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
/// let fit = Fit { epochs: 1, ..Fit::default() };
/// model
///     .training(&fit)
///     .each_batch(|batch, rng| augment.apply(Pixels::<1, 8, 8>, batch.inputs_mut(), rng))
///     .run(&digits.train)?;
/// # Ok::<(), dfdx_noprop::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Augment {
    /// By how many pixels an image is shifted at most, up or down and left or right; a crop with so
    /// much padding is the same.
    /// Default: `0`.
    pub shift: usize,
    /// Whether half of the images, by chance, are mirrored, left and right.
    /// Default: `false`.
    pub flip: bool,
    /// What comes in from outside: the background, which is 0 before and about −0.42 after MNIST's
    /// standardisation.
    /// Default: `0.0`.
    pub background: f64,
}

impl Augment {
    /// Changes each image. The same state of `rng` gives the same changes.
    ///
    /// Rows of other than C H W numbers do not build.
    pub fn apply<const C: usize, const H: usize, const W: usize, E: Real, const X: usize>(
        &self,
        _size: Pixels<C, H, W>,
        images: &mut [[E; X]],
        rng: &mut impl Rng,
    ) {
        const { check_numbers("Pixels", [C, H, W], X) };
        let reach = self.shift.min(FARTHEST) as i64;
        // One image of room for all of them, and not on the stack: X is as large as the user's
        // images.
        let mut before = vec![E::zero(); X];
        for image in images {
            let [down, right] = [(); 2].map(|()| rng.gen_range(-reach..=reach) as isize);
            let flip = self.flip && rng.r#gen::<bool>();
            if (down, right, flip) != (0, 0, false) {
                before.copy_from_slice(image);
                self.moved([H, W], &before, image, (down, right), flip);
            }
        }
    }

    fn moved<E: Real>(
        &self,
        [height, width]: [usize; 2],
        from: &[E],
        to: &mut [E],
        (down, right): (isize, isize),
        flip: bool,
    ) {
        for (i, pixel) in to.iter_mut().enumerate() {
            let (plane, y, x) = (i / (height * width), i / width % height, i % width);
            let from_y = y.checked_add_signed(-down).filter(|y| *y < height);
            let from_x = x.checked_add_signed(-right).filter(|x| *x < width);
            *pixel = match (from_y, from_x) {
                (Some(y), Some(x)) => {
                    let x = if flip { width - 1 - x } else { x };
                    from[(plane * height + y) * width + x]
                }
                _ => E::of(self.background),
            };
        }
    }
}
