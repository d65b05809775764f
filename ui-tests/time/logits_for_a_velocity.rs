use dfdx_noprop::prelude::*;

type Block = ConditionalResNetFm<10, 64, 32, 26>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let variant = FlowMatching::<Learned<26>>::default();
    let model = NoProp::<_, Block, 10, 64>::new(&dev, variant)?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
