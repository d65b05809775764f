//! CIFAR's binary records, of either kind.

use dfdx_noprop::data::cifar_file;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = fuzz::scratch()?;
    let record = |label: u8| [vec![label], vec![7; 3072]].concat();
    let seeds = [record(3), [record(1), record(9)].concat(), vec![0; 3074]];
    fuzz::fuzz("cifar", &seeds, |bytes| {
        std::fs::write(file.path(), bytes).is_ok() && {
            let ten = cifar_file::<10>(file.path(), 0).is_ok();
            let hundred = cifar_file::<100>(file.path(), 1).is_ok();
            ten || hundred
        }
    });
    Ok(())
}
