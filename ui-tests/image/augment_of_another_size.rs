use dfdx_noprop::{
    data::{Augment, Pixels},
    prelude::*,
};

type Block = ConditionalResNetDt<10, 64>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let data = Dataset::<64, _>::new(vec![0f32; 64], Labels::<10>::new(vec![0])?)?;
    let mut model = NoProp::<DiscreteTime, Block, 10, 64>::new(&dev, DiscreteTime::default())?;
    let (augment, fit) = (Augment::default(), Fit { epochs: 0, ..Fit::default() });
    let training = model.training(&fit).each_batch(|batch, rng| {
        augment.apply(Pixels::<3, 8, 8>, batch.inputs_mut(), rng);
    });
    println!("{}", training.run(&data)?.ended);
    Ok(())
}
