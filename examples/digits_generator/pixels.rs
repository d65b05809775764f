//! Pictures, and the numbers that a generator learns.

use dfdx_noprop::{data::Standardiser, prelude::*};

/// 8 × 8 pixels, from 0 to 16.
pub type Picture = [f32; 64];

/// The pictures of each class.
pub type ByClass = [Vec<Picture>; 10];

/// From pixels to numbers and back.
pub struct Numbers {
    margin: f32,
    scale: Standardiser<64>,
}

impl Numbers {
    /// By the rows to learn from.
    ///
    /// Half of all pixels are 0 and a tenth are 16: ends that a network, which is smooth, comes near
    /// to and does not meet. So they are put `margin` grey levels further out, and what is beyond
    /// the ends is an end again.
    ///
    /// All pixels have one deviation, so that those at the border stay as small as they are.
    pub fn new(digits: &Dataset<64, Labels<10>>, margin: f32) -> Result<Self, Error> {
        let outer = apart(digits.inputs(), margin);
        let outer = Dataset::<64, _>::new(outer, digits.targets().clone())?;
        let own = Standardiser::per_column(&outer)?;
        let variance =
            own.deviation().iter().map(|deviation| deviation.powi(2)).sum::<f64>() / 64.0;
        let scale = Standardiser::new(own.mean().to_vec(), vec![variance.sqrt(); 64])?;
        Ok(Self { margin, scale })
    }

    /// Rows whose input names the digit, and whose targets are its pixels.
    pub fn rows(&self, digits: &Dataset<64, Labels<10>>) -> Result<Dataset<10, Values<64>>, Error> {
        let mut numbers = apart(digits.inputs(), self.margin);
        self.scale.apply_rows(&mut numbers)?;
        let named: Vec<_> = digits.targets().as_slice().iter().map(|class| named(*class)).collect();
        Dataset::from_rows(named, Values::new(numbers)?)
    }

    /// The picture that numbers stand for.
    pub fn picture(&self, mut numbers: [f32; 64]) -> Result<Picture, Error> {
        self.scale.invert(&mut numbers)?;
        Ok(numbers.map(|pixel| pixel.clamp(0.0, 16.0)))
    }
}

fn apart(pixels: &[f32], margin: f32) -> Vec<f32> {
    let moved = |pixel: &f32| match *pixel {
        pixel if pixel <= 0.0 => -margin,
        pixel if pixel >= 16.0 => 16.0 + margin,
        pixel => pixel,
    };
    pixels.iter().map(moved).collect()
}

/// The input that names a digit: 1 at its place, 0 elsewhere.
pub fn named(class: u32) -> [f32; 10] {
    std::array::from_fn(|place| if place == class as usize { 1.0 } else { 0.0 })
}

pub fn by_class(digits: &Dataset<64, Labels<10>>) -> ByClass {
    let mut all = ByClass::default();
    for (picture, &class) in digits.samples().iter().zip(digits.targets().as_slice()) {
        all[class as usize].push(*picture);
    }
    all
}
