//! Reads a handwritten digit: 64 pixels from 0 to 16, row by row, on standard input.
//!
//! ```text
//! cargo run --release -p embedded < embedded/three.txt
//! ```

use std::io::Read;

use dfdx_noprop::{Error, Predictor};

/// What `cargo run --release --example predictor -- --model embedded/digits.safetensors` has made.
const MODEL: &[u8] = include_bytes!("../digits.safetensors");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let pixels = text.split_whitespace().map(str::parse).collect::<Result<Vec<f32>, _>>()?;
    let count = pixels.len();
    let row: [f32; 64] =
        pixels.try_into().map_err(|_| format!("64 pixels are expected, and {count} came"))?;
    println!("{}", read(row)?);
    Ok(())
}

/// What the digit is taken for, and how probable that is.
fn read(pixels: [f32; 64]) -> Result<String, Error> {
    let model = Predictor::<10, 64>::from_bytes(MODEL)?;
    let probabilities = model.predict_proba(&[pixels])?;
    let name = model.predict_names(&[pixels])?[0];
    let most = probabilities[0].into_iter().fold(0.0, f32::max);
    Ok(format!("{name}, {:.1} %", 100.0 * most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_three_is_read() {
        let text = include_str!("../three.txt");
        let pixels: Vec<f32> = text.split_whitespace().map(|v| v.parse().unwrap()).collect();
        assert!(read(pixels.try_into().unwrap()).unwrap().starts_with("three, "));
    }
}
