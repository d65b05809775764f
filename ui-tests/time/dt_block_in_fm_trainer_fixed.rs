use dfdx_noprop::prelude::*;

type Block = ConditionalResNetFm<10, 64, 32>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<FlowMatching, Block, 10, 64>::new(&dev, FlowMatching::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
