use dfdx_noprop::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

type Block = ConditionalResNetFm<2, 1, 32>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let variant = FlowMatching::<Regression>::default();
    let mut model = NoProp::<_, Block, 2, 1>::new(&dev, variant)?;
    let base: Tensor<(usize, Const<2>), f32, _> = dev.zeros_like(&(5, Const));
    let target: Tensor<(usize, Const<3>), f32, _> = dev.zeros_like(&(5, Const));
    let times = dev.sample_uniform_like(&(5,));
    let x = dev.zeros_like(&(5, Const));
    println!("{}", model.train_step((base, target, times), x, &mut StdRng::seed_from_u64(0))?);
    Ok(())
}
