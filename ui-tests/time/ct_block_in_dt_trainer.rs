use dfdx_noprop::prelude::*;

type Block = ConditionalResNetCt<10, 64, 32>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<DiscreteTime, Block, 10, 64>::new(&dev, DiscreteTime::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
