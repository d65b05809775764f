use dfdx::nn::ZeroSizedModule;
use dfdx_noprop::{device::Rows, prelude::*};

/// û = z + the mean of x.
#[derive(Clone, Debug, Default)]
struct Shift;
impl ZeroSizedModule for Shift {}
impl NonMutableModule for Shift {}

type Z<T> = Rows<Const<2>, f32, AutoDevice, T>;
type X = Rows<Const<3>, f32, AutoDevice>;

impl<T: Tape<f32, AutoDevice>> Module<(Z<T>, X)> for Shift {
    type Output = Z<T>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(&self, (z, x): (Z<T>, X)) -> Result<Z<T>, Self::Error> {
        let shape = *z.shape();
        z.try_add(x.try_mean::<(usize,), _>()?.try_broadcast_like(&shape)?)
    }
}

type Block = Custom<Shift, Pair<2, 4>, Width<2>>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let data = Dataset::<4, _>::new(vec![0f32; 4], Labels::<2>::new(vec![0])?)?;
    let mut model = NoProp::<DiscreteTime, Block, 2, 4>::new(&dev, DiscreteTime::default())?;
    model.fit(&data, &Fit { epochs: 0, ..Fit::default() })?;
    println!("{:?}", model.evaluate(&data)?);
    Ok(())
}
