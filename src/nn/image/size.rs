//! Sizes that are checked while the program is built, with words for the compiler.

use std::marker::PhantomData;

use crate::{device::Window, nn::Misfit};

/// A layer on images of a size: what is checked of the two is checked once, whatever they are used
/// for.
pub(super) struct On<Layer, const H: usize, const W: usize>(PhantomData<Layer>);

/// What does not fit unless windows of this kind make an image of this output size.
pub(super) const fn windows(layer: &str, window: Window) -> Misfit {
    let Window { height, width, kernel, stride, padding, out_height, out_width, .. } = window;
    let fits = [
        Window::count(height, kernel, stride, padding),
        Window::count(width, kernel, stride, padding),
    ];
    if fits[0] == out_height && fits[1] == out_width {
        if padding >= kernel {
            let text = Misfit::NONE.push(layer).push(" has a padding of ").number(padding);
            let text = text.push(" and a kernel of ").number(kernel);
            return text.push(": windows of nothing but padding; make the padding the smaller one");
        }
        return Misfit::NONE;
    }
    let text = Misfit::NONE.push(layer).push(" makes an image of ").size(fits[0], fits[1]);
    let text = text.push(" from one of ").size(height, width).push(", not one of ");
    text.size(out_height, out_width)
}

/// What does not fit unless a row has as many numbers as an image.
pub(super) const fn numbers(layer: &str, [c, h, w]: [usize; 3], numbers: usize) -> Misfit {
    if c * h * w == numbers {
        return Misfit::NONE;
    }
    let text = Misfit::NONE.push(layer).push(": an image of ").number(c).push(" channels, ");
    let text = text.size(h, w).push(" pixels, is ").number(c * h * w).push(" numbers, not ");
    text.number(numbers)
}

/// Ends the build unless a row has as many numbers as an image.
#[track_caller]
pub(crate) const fn check_numbers(layer: &str, [c, h, w]: [usize; 3], numbers: usize) {
    self::numbers(layer, [c, h, w], numbers).check();
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn window(out_height: usize, out_width: usize) -> Window {
        Window {
            height: 28,
            width: 7,
            channels: 1,
            kernel: 3,
            stride: 2,
            padding: 1,
            out_height,
            out_width,
        }
    }

    fn message(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
        *std::panic::catch_unwind(check).unwrap_err().downcast::<String>().unwrap()
    }

    #[test]
    fn the_size_that_follows_is_named() {
        const { windows("Conv2d", window(14, 4)).check() };
        assert_eq!(
            message(|| windows("Conv2d", window(13, 104)).check()),
            "Conv2d makes an image of 14 x 4 from one of 28 x 7, not one of 13 x 104"
        );
    }

    #[test]
    fn numbers_are_counted() {
        const { check_numbers("Planes", [3, 32, 32], 3072) };
        assert_eq!(
            message(|| check_numbers("Flatten", [128, 3, 3], 1151)),
            "Flatten: an image of 128 channels, 3 x 3 pixels, is 1152 numbers, not 1151"
        );
    }
}
