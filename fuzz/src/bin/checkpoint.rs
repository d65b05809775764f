//! Checkpoints.

use std::path::Path;

use dfdx_noprop::{checkpoint::Contents, prelude::*};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    type Block = ConditionalResNetDt<2, 2, 2>;
    let variant = DiscreteTime { blocks: 2, ..DiscreteTime::default() };
    let model = NoProp::<DiscreteTime, Block, 2, 2>::new(&AutoDevice::default(), variant)?;
    let file = fuzz::scratch()?;
    model.save(file.path())?;
    let seeds = [std::fs::read(file.path())?, Contents::default().to_bytes()?];
    fuzz::fuzz("checkpoint", &seeds, |bytes| {
        Contents::from_bytes(bytes, Path::new("changed")).is_ok()
    });
    Ok(())
}
