//! How good pictures are: what they show, how much they differ, and whether they are new.

use dfdx_noprop::prelude::*;

use crate::{
    judge::Judge,
    pixels::{ByClass, Picture},
};

pub struct Scores {
    /// The share of the pictures that are read as the digit that was asked for.
    pub asked_for: f64,
    /// The spread within each class, as a share of that of the digits that were learned from.
    pub spread: [f64; 10],
    /// The mean distance to the nearest digit of the class that was learned from, as a share of that
    /// of the test digits: 0 where the pictures are copies.
    pub novelty: f64,
}

impl Scores {
    pub fn new(
        pictures: &ByClass,
        learned: &ByClass,
        test: &ByClass,
        judge: &Judge,
    ) -> Result<Self, Error> {
        let (mut right, mut spread) = (0, [0.0; 10]);
        let (mut far, mut test_far) = (0.0, 0.0);
        for (class, of_class) in pictures.iter().enumerate() {
            right += judge.count(of_class, class as u32)?;
            spread[class] = deviation(of_class) / deviation(&learned[class]);
            far += to_nearest(of_class, &learned[class]);
            test_far += to_nearest(&test[class], &learned[class]);
        }
        let all: usize = pictures.iter().map(Vec::len).sum();
        Ok(Self { asked_for: right as f64 / all as f64, spread, novelty: far / test_far })
    }

    pub fn mean_spread(&self) -> f64 {
        self.spread.iter().sum::<f64>() / 10.0
    }

    pub fn least_spread(&self) -> f64 {
        self.spread.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn most_spread(&self) -> f64 {
        self.spread.iter().copied().fold(0.0, f64::max)
    }

    /// What a good generator does: 99 of 100 are what was asked for, and no class has a spread that
    /// is more than a tenth off.
    pub fn is_good(&self) -> bool {
        let near = |ratio: &f64| (ratio - 1.0).abs() <= 0.1;
        self.asked_for >= 0.99 && self.spread.iter().all(near)
    }
}

/// The root of the trace of the covariance: about how far a picture is from the mean of all.
fn deviation(pictures: &[Picture]) -> f64 {
    let count = pictures.len() as f64;
    let variance = |pixel: usize| {
        let values = || pictures.iter().map(|picture| f64::from(picture[pixel]));
        let mean = values().sum::<f64>() / count;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)
    };
    (0..64).map(variance).sum::<f64>().sqrt()
}

/// The distance to the nearest of others, mean over the pictures.
fn to_nearest(pictures: &[Picture], others: &[Picture]) -> f64 {
    let square = |a: &Picture, b: &Picture| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    let nearest = |picture: &Picture| {
        let all = others.iter().map(|other| square(picture, other));
        all.fold(f64::INFINITY, f64::min).sqrt()
    };
    pictures.iter().map(nearest).sum::<f64>() / pictures.len() as f64
}
