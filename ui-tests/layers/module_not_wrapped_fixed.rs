use dfdx::nn::ZeroSizedModule;
use dfdx_noprop::{device::Rows, prelude::*};
#[derive(Clone, Debug, Default)]
struct Scale;
impl ZeroSizedModule for Scale {}
impl NonMutableModule for Scale {}
impl<const N: usize, T: Tape<f32, AutoDevice>> Module<Rows<Const<N>, f32, AutoDevice, T>>
    for Scale
{
    type Output = Rows<Const<N>, f32, AutoDevice, T>;
    type Error = CpuError;
    fn try_forward(&self, x: Rows<Const<N>, f32, AutoDevice, T>) -> Result<Self::Output, CpuError> {
        x.try_mul(0.5)
    }
}
type Block =
    (Condition<Dense<10, 64>, Dense<64, 64>>, Custom<Scale, Width<64>, Width<64>>, Dense<64, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fn main() -> Result<(), Error> {
    let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    println!("{:?}", model.predict(&[[0f32; 64]])?);
    Ok(())
}
