//! A network that reads digits. It learns from real ones alone, and says which digit a sample is.

use dfdx_noprop::{
    data::{Augment, Pixels, Split, Standardiser},
    prelude::*,
};

use crate::pixels::Picture;

/// Two convolutions on 8 × 8 pixels.
type Trunk = (
    Planes<1, 8, 8>,
    (Conv2d<1, 16, 8, 8>, BatchNorm<16>, ReLU),
    (Conv2d<16, 32, 8, 8>, BatchNorm<32>, ReLU, MaxPool2d<4, 4>),
    (Flatten<512>, Dense<512, 64>),
);
type Block = (Condition<Dense<10, 64>, Trunk>, ReLU, Dense<64, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;

pub struct Judge {
    model: Model,
    scale: Standardiser<64>,
    /// The share of the test digits that it reads right.
    pub test_accuracy: f64,
}

impl Judge {
    /// Learns from the training rows, with pixels from 0 to 16.
    pub fn new(digits: &Split<64, Labels<10>>, epochs: usize, seed: u64) -> Result<Self, Error> {
        let scale = Standardiser::overall(&digits.train)?;
        let split = digits.clone().standardised(&scale)?;
        let mut black = [0.0; 64];
        scale.apply_rows(&mut black)?;

        let variant = DiscreteTime { blocks: 5, seed, ..DiscreteTime::default() };
        let mut model = Model::new(&AutoDevice::seed_from_u64(seed), variant)?;
        let learning_rate = LearningRate { warm_up: 0, decay: Decay::Cosine { floor: 0.01 } };
        let fit = Fit { epochs, batch_size: 64, seed, learning_rate, ..Fit::default() };
        let augment = Augment { shift: 1, flip: false, background: black[0].into() };
        model
            .training(&fit)
            .each_batch(|batch, rng| {
                augment.apply(Pixels::<1, 8, 8>, batch.inputs_mut(), rng);
            })
            .run(&split.train)?;
        let test_accuracy = model.evaluate(&split.test)?.accuracy;
        Ok(Self { model, scale, test_accuracy })
    }

    /// How many of the pictures are read as `class`.
    pub fn count(&self, pictures: &[Picture], class: u32) -> Result<usize, Error> {
        let mut rows = pictures.to_vec();
        self.scale.apply_rows(rows.as_flattened_mut())?;
        let read = self.model.predict(&rows)?;
        Ok(read.iter().filter(|found| **found == class).count())
    }
}
