use dfdx_noprop::prelude::*;

type Block = ConditionalResNetCt<10, 64, 32>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<DiffusionBlocks, Block, 10, 64>::new(&dev, DiffusionBlocks::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
