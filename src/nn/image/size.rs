//! Sizes that are checked while the program is built, with words for the compiler.

use std::marker::PhantomData;

use crate::device::Window;

/// A layer on images of a size: what is checked of the two is checked once, whatever they are used
/// for.
pub(super) struct On<Layer, const H: usize, const W: usize>(PhantomData<Layer>);

/// Ends the build unless windows of this kind make an image of this output size.
#[track_caller]
pub(super) const fn check_windows(layer: &str, window: Window) {
    let Window { height, width, kernel, stride, padding, out_height, out_width, .. } = window;
    let fits = [
        Window::count(height, kernel, stride, padding),
        Window::count(width, kernel, stride, padding),
    ];
    if fits[0] == out_height && fits[1] == out_width {
        if padding >= kernel {
            panic!(
                "an image layer whose padding is not smaller than its kernel has windows of nothing but padding"
            );
        }
        return;
    }
    let text = Text::new().push(layer).push(" makes an image of ").size(fits[0], fits[1]);
    let text = text.push(" from one of ").size(height, width).push(", not one of ");
    panic!("{}", text.size(out_height, out_width).as_str());
}

/// Ends the build unless a row has as many numbers as an image.
#[track_caller]
pub(crate) const fn check_numbers(layer: &str, [c, h, w]: [usize; 3], numbers: usize) {
    if c * h * w == numbers {
        return;
    }
    let text = Text::new().push(layer).push(": an image of ").number(c).push(" channels, ");
    let text = text.size(h, w).push(" pixels, is ").number(c * h * w).push(" numbers, not ");
    panic!("{}", text.number(numbers).as_str());
}

/// A text that is put together while the program is built.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 256], length: 0 }
    }

    const fn push(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() && self.length < self.bytes.len() {
            self.bytes[self.length] = bytes[i];
            self.length += 1;
            i += 1;
        }
        self
    }

    const fn number(mut self, number: usize) -> Self {
        if number >= 10 {
            self = self.number(number / 10);
        }
        if self.length < self.bytes.len() {
            self.bytes[self.length] = b'0' + (number % 10) as u8;
            self.length += 1;
        }
        self
    }

    const fn size(self, height: usize, width: usize) -> Self {
        self.number(height).push(" x ").number(width)
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "sizes do not agree",
        }
    }
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
        const { check_windows("Conv2d", window(14, 4)) };
        assert_eq!(
            message(|| check_windows("Conv2d", window(13, 104))),
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
