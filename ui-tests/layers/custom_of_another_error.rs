use dfdx_noprop::{device::Rows, prelude::*};

#[derive(Clone, Debug, Default)]
struct Halve;

impl dfdx::nn::ZeroSizedModule for Halve {}
impl NonMutableModule for Halve {}
impl<const N: usize, T: Tape<f32, AutoDevice>> Module<Rows<Const<N>, f32, AutoDevice, T>>
    for Halve
{
    type Output = Rows<Const<N>, f32, AutoDevice, T>;
    type Error = std::fmt::Error;

    fn try_forward(
        &self,
        x: Rows<Const<N>, f32, AutoDevice, T>,
    ) -> Result<Self::Output, Self::Error> {
        x.try_mul(0.5).map_err(|_| std::fmt::Error)
    }
}

type Block =
    (Condition<Dense<10, 16>, Dense<64, 16>>, Custom<Halve, Width<16>, Width<16>>, Dense<16, 10>);

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let model = NoProp::<DiscreteTime, Block, 10, 64>::new(&dev, DiscreteTime::default())?;
    assert_eq!(model.predict(&[[0.0; 64]])?.len(), 1);
    Ok(())
}
