//! CSV files: with labels, and with numbers as targets.

use dfdx_noprop::data::{csv_labels, csv_values};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds = [
        "1.5,2,0\n-3e2,4,1\n0.001,1,2\n".as_bytes().to_vec(),
        "a,b,class\n1,2,0\n3,4,1\n".as_bytes().to_vec(),
        "\"1\",\"2\",\"1\"\r\n5,6,2\r\n".as_bytes().to_vec(),
    ];
    let file = fuzz::scratch()?;
    fuzz::fuzz("csv", &seeds, |bytes| {
        std::fs::write(file.path(), bytes).is_ok() && {
            let labels = csv_labels::<2, 3>(file.path()).is_ok();
            let values = csv_values::<2, 1>(file.path()).is_ok();
            labels || values
        }
    });
    Ok(())
}
