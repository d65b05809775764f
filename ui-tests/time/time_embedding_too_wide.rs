use dfdx_noprop::prelude::*;

type Block = ConditionalResNetCt<10, 64, 32, 10, 2048>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<ContinuousTime, Block, 10, 64>::new(&dev, ContinuousTime::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
