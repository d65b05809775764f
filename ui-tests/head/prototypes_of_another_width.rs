use dfdx_noprop::prelude::*;

type Block = ConditionalResNetDt<10, 64, 32, 2>;

fn main() -> Result<(), Error> {
    let dev = AutoDevice::default();
    let data = Dataset::<64, _>::new(vec![0f32; 128], Labels::<2>::new(vec![0, 1])?)?;
    let settings = DiscreteTime {
        blocks: 10,
        schedule: Schedule::Cosine,
        eta: 0.1,
        cross_entropy: 1.0,
        preconditioned: true,
        sampler: Sampler::Deterministic,
        reverse_variance: ReverseVariance::Optimal,
        probabilities: Probabilities::Mean,
        optimizer: Optimizer::default(),
        estimator: Estimator::Local,
        head: Prototypes::<2, 64>::new(&[[0.0; 64], [1.0; 64]])?,
        seed: 0,
    };
    let mut model = NoProp::<DiscreteTime<_>, Block, 10, 64>::new(&dev, settings)?;
    model.fit(&data, &Fit { epochs: 0, ..Fit::default() })?;
    println!("{:?}", model.evaluate(&data)?);
    Ok(())
}
