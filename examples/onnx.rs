//! Digits learned here, and read elsewhere: the trained model as an ONNX graph.
//!
//! ```text
//! cargo run --release --features onnx --example onnx
//! ```

use std::{fs, path::PathBuf};

use clap::Parser;
use dfdx_noprop::prelude::*;

type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;

/// Trains NoProp (discrete time) on the handwritten digits, and writes the model as an ONNX graph
#[derive(Parser)]
struct Options {
    /// The file to write
    #[arg(long, default_value = "runs/digits.onnx")]
    file: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Options { file } = Options::parse();
    let digits = data::digits()?;
    let mut model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    model.fit(&digits.train, &Fit { epochs: 5, ..Fit::default() })?;
    println!("accuracy {:.1} %", 100.0 * model.evaluate(&digits.test)?.accuracy);

    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    model.export_onnx(&file)?;
    println!("{}: {} bytes. To run it in Python:\n", file.display(), fs::metadata(&file)?.len());
    println!("    import numpy, onnxruntime # pip install onnxruntime numpy");
    println!("    session = onnxruntime.InferenceSession({:?})", file.display().to_string());
    println!("    x = numpy.zeros((1, 64), dtype=numpy.float32)");
    println!("    print(session.run(None, {{\"x\": x}})[0])\n");
    println!("The model itself answers {:.4?}", model.predict_proba(&[[0.0; 64]])?[0]);
    Ok(())
}
