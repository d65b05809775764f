use dfdx_noprop::prelude::*;

type Time = (TimeEmbedding<64>, Dense<64, 32>);
type Block = (TimedCondition<Dense<10, 32>, Dense<64, 32>, Time>, ReLU, Dense<32, 10>);

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<ContinuousTime, Block, 10, 64>::new(&dev, ContinuousTime::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
