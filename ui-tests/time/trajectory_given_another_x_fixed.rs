use dfdx_noprop::prelude::*;

type Block = ConditionalResNetCt<10, 64, 32>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<ContinuousTime, Block, 10, 64>::new(&dev, ContinuousTime::default())?;
    let z0: Tensor<(usize, Const<10>), f32, _> = dev.zeros_like(&(5, Const));
    let x: Tensor<(usize, Const<64>), f32, _> = dev.zeros_like(&(5, Const));
    let trajectory = model.integrate_trajectory(z0, x, 0.0, 1.0)?;
    println!("{:?}", trajectory.times);
    Ok(())
}
