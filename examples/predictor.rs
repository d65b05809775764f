//! A trained model as one file, and its use by a program that knows nothing of how it was trained.
//!
//! ```text
//! cargo run --release --example predictor
//! ```

use std::path::PathBuf;

use clap::Parser;
use dfdx_noprop::{AnyPredictor, Predictor, data::Standardiser, prelude::*};

type Network = ConditionalResNetFm<10, 64, 32>;
type Model = NoProp<FlowMatching, Network, 10, 64>;

/// Trains on the handwritten digits, keeps the model as one file, and reads it back
#[derive(Parser)]
struct Options {
    /// Where the model goes
    #[arg(long, default_value = "runs/digits.safetensors")]
    model: PathBuf,
    /// How often each digit is learned from
    #[arg(long, default_value_t = 60)]
    epochs: usize,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    // Pixels as they come, from 0 to 16, and as a network learns from them best.
    let raw = data::digits_rows()?.split_stratified(0.2, 0)?;
    let (pixels, mut train) = (Standardiser::overall(&raw.train)?, raw.train);
    pixels.apply(&mut train)?;
    let mut model = Model::new(&AutoDevice::default(), FlowMatching::default())?;
    model.fit(&train, &Fit { epochs: options.epochs, ..Fit::default() })?;

    // Whoever uses the model has pixels as they come, and asks for names.
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let predictor = model.predictor()?.with_inputs(&pixels)?.with_class_names(names)?;
    if let Some(folder) = options.model.parent() {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            path: folder.to_owned(),
            operation: "create",
            source,
        })?;
    }
    predictor.save(&options.model)?;
    println!("{} holds the model:\n\n{}\n", options.model.display(), predictor.summary()?);

    // Another program: with the type, which is checked when the file is read …
    let typed = Predictor::<10, 64>::load(&options.model)?;
    let labels = raw.test.targets().as_slice();
    for (name, label) in typed.predict_names(&raw.test.samples()[..5])?.iter().zip(labels) {
        println!("{name}, and it is {}", names[*label as usize]);
    }

    // … and without.
    let any = AnyPredictor::<f32>::load(&options.model)?;
    let answers = any.predict_classes(raw.test.inputs())?;
    let right = answers.iter().zip(labels).filter(|(a, b)| a == b).count();
    println!("{right} of {} test digits are read right", answers.len());
    Ok(())
}
