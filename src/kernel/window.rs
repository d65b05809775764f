//! What a convolution or a pooling looks at.

/// Windows that slide over images, channels last: `[height, width, channels]` to
/// `[out_height, out_width]` windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Window {
    /// The image's height in pixels.
    pub height: usize,
    /// The image's width in pixels.
    pub width: usize,
    /// Numbers for each pixel.
    pub channels: usize,
    /// The window's side in pixels.
    pub kernel: usize,
    /// How many pixels the window moves at a time.
    pub stride: usize,
    /// How many pixels of zeros surround the image.
    pub padding: usize,
    /// How many windows there are from top to bottom.
    pub out_height: usize,
    /// How many windows there are from left to right.
    pub out_width: usize,
}

impl Window {
    /// How many windows of a side fit on a length: ⌊(length + 2 padding − kernel) / stride⌋ + 1; 0
    /// where none does.
    pub const fn count(length: usize, kernel: usize, stride: usize, padding: usize) -> usize {
        let room = length + 2 * padding;
        if kernel == 0 || stride == 0 || kernel > room { 0 } else { (room - kernel) / stride + 1 }
    }

    /// Numbers in an image.
    pub fn image(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Windows on an image.
    pub fn windows(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Numbers of an image after pooling: one for each window and channel.
    pub fn pooled(&self) -> usize {
        self.windows() * self.channels
    }

    /// Numbers in a window.
    pub fn patch(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    /// The rows of a window, from top to bottom: the first pixel's place in the image, and which
    /// pixels of the row lie on the image; `None` for a row that does not.
    pub(crate) fn rows(
        self,
        window: usize,
    ) -> impl Iterator<Item = Option<(usize, std::ops::Range<usize>)>> {
        let (y, x) = (window / self.out_width, window % self.out_width);
        let (top, left) = (y * self.stride, x * self.stride);
        // Coordinates in the padded image; those of the image itself begin at the padding.
        let columns = left.max(self.padding)..(left + self.kernel).min(self.padding + self.width);
        let first = columns.start.saturating_sub(left)..columns.end.saturating_sub(left);
        (0..self.kernel).map(move |row| {
            let y = (top + row).checked_sub(self.padding).filter(|y| *y < self.height)?;
            let start = y * self.width + columns.start - self.padding;
            (!columns.is_empty()).then(|| (start, first.clone()))
        })
    }

    /// The place of every pixel of every window in the image; `None` for one of the padding.
    pub(crate) fn pixels(self) -> impl Iterator<Item = Option<usize>> {
        (0..self.windows()).flat_map(move |window| {
            self.rows(window).flat_map(move |row| {
                (0..self.kernel).map(move |column| {
                    let (start, columns) = row.clone()?;
                    columns.contains(&column).then(|| start + column - columns.start)
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_where_they_should() {
        for (height, width, kernel, stride, padding) in [
            (4, 5, 3, 1, 1),
            (5, 4, 3, 2, 1),
            (6, 6, 2, 2, 0),
            (3, 3, 5, 1, 2),
            (7, 3, 3, 3, 2),
            (2, 2, 4, 5, 3),
        ] {
            let out_height = Window::count(height, kernel, stride, padding);
            let out_width = Window::count(width, kernel, stride, padding);
            let window = Window {
                height,
                width,
                channels: 1,
                kernel,
                stride,
                padding,
                out_height,
                out_width,
            };
            let mut expected = Vec::new();
            for (y, x) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
                for (dy, dx) in (0..kernel).flat_map(|y| (0..kernel).map(move |x| (y, x))) {
                    let row = (y * stride + dy) as isize - padding as isize;
                    let column = (x * stride + dx) as isize - padding as isize;
                    let on = (0..height as isize).contains(&row)
                        && (0..width as isize).contains(&column);
                    expected.push(on.then_some((row * width as isize + column) as usize));
                }
            }
            assert_eq!(window.pixels().collect::<Vec<_>>(), expected, "{window:?}");
        }
    }

    #[test]
    fn windows_are_counted() {
        assert_eq!(Window::count(28, 3, 1, 1), 28);
        assert_eq!(Window::count(28, 2, 2, 0), 14);
        assert_eq!(Window::count(7, 2, 2, 0), 3);
        assert_eq!(Window::count(28, 3, 2, 1), 14);
        assert_eq!(Window::count(2, 3, 1, 0), 0);
        assert_eq!(Window::count(2, 3, 0, 1), 0);
    }
}
