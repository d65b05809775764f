use dfdx_noprop::prelude::*;

type Trunk = (Planes<1, 8, 8>, Conv2d<1, 4, 8, 8>, Residual<(Conv2d<4, 4, 8, 8>, ReLU, Conv2d<4, 4, 8, 8>)>, Flatten<256>, Dense<256, 32>);
type Block = (Condition<Dense<10, 32>, Trunk>, ReLU, Dense<32, 10>);

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let data = Dataset::<64, _>::new(vec![0f32; 64], Labels::<10>::new(vec![0])?)?;
    let model = NoProp::<DiscreteTime, Block, 10, 64>::new(&dev, DiscreteTime::default())?;
    println!("{:?}", model.evaluate(&data)?);
    Ok(())
}
