//! A run that is saved as it goes, stopped, and gone on with; a model made from its file; its
//! weights for use elsewhere.
//!
//! ```text
//! cargo run --release --example checkpoints
//! ```

use std::{ops::ControlFlow, path::PathBuf};

use clap::Parser;
use dfdx_noprop::{
    prelude::*,
    train::{Checkpoints, EpochReport, Every},
};

type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;

/// Saves a run on the handwritten digits, stops it, goes on with it, and exports its weights
#[derive(Parser)]
struct Options {
    /// Where checkpoints and weights go: a folder without checkpoints, or none yet
    #[arg(long, default_value = "runs/checkpoints")]
    folder: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let (digits, device) = (data::digits()?, AutoDevice::default());
    let variant = DiscreteTime { blocks: 5, ..DiscreteTime::default() };
    let fit = Fit { epochs: 10, ..Fit::default() };

    // A checkpoint after each epoch; the last three are kept. Ctrl-C would stop the run as well, by
    // `.interrupt(ctrl_c()?)`: see the example `train`.
    let mut checkpoints = Checkpoints::new(&options.folder, Every::Epochs(1), 3)?;
    if let Some((path, _)) = checkpoints.folder().latest()? {
        return Err(format!("{} is there from another run", path.display()).into());
    }
    let mut model = Model::new(&device, variant.clone())?;
    let half = |_: &_, report: &EpochReport| {
        Ok(if report.epoch == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    model.training(&fit).checkpoints(&mut checkpoints).each_epoch(half).run(&digits.train)?;
    println!("stopped after {} epochs of {}", model.epochs(), fit.epochs);
    drop(model);

    // Another process would go on in the same way: weights, optimisers and the place in the run are
    // in the file.
    let mut model = Model::new(&device, variant.clone())?;
    let found = checkpoints.resume(&mut model)?;
    println!("found a checkpoint: {found}, after {} epochs", model.epochs());
    model.training(&fit).checkpoints(&mut checkpoints).run(&digits.train)?;

    // It is as if it had never been stopped: the same weights, bit for bit.
    let mut undisturbed = Model::new(&device, variant)?;
    undisturbed.fit(&digits.train, &fit)?;
    let rows = digits.test.samples();
    let same = model.predict_proba(rows)? == undisturbed.predict_proba(rows)?;
    println!("the answers are those of a run that was not stopped: {same}");

    // A checkpoint holds the settings, too, so that it is enough to make the model.
    if let Some(path) = checkpoints.last() {
        let loaded = Model::from_checkpoint(&device, path)?;
        let report = loaded.evaluate(&digits.test)?;
        println!(
            "{}: accuracy {:.2} % on {} test digits",
            path.display(),
            100.0 * report.accuracy,
            report.rows
        );
    }

    // The weights alone, as safetensors: in Python, `safetensors.numpy.load_file(path)`.
    let path = options.folder.join("weights.safetensors");
    model.export(&path)?;
    println!("{} holds the weights", path.display());
    Ok(())
}
