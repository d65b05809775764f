use dfdx::nn::modules::Softmax;
use dfdx_noprop::prelude::*;

type Block = (Condition<Dense<10, 32>, Dense<64, 32>>, Softmax, Dense<32, 10>);

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let data = Dataset::<64, _>::new(vec![0f32; 64], Labels::<10>::new(vec![0])?)?;
    let mut model = NoProp::<DiscreteTime, Block, 10, 64>::new(&dev, DiscreteTime::default())?;
    model.fit(&data, &Fit { epochs: 0, ..Fit::default() })?;
    println!("{:?}", model.evaluate(&data)?);
    Ok(())
}
