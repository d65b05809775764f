use dfdx_noprop::prelude::*;

type Block = ConditionalResNetDt<10, 64>; // z: 10 classes, x: 8 × 8 pixels

fn main() -> Result<(), Error> {
    let digits = data::digits()?;
    let mut model = NoProp::<DiscreteTime, Block, 10, 64>::new(
        &AutoDevice::default(),
        DiscreteTime::default(),
    )?;
    model.fit(&digits.train, &Fit { epochs: 20, ..Fit::default() })?;
    println!("{:.1} %", 100.0 * model.evaluate(&digits.test)?.accuracy);
    Ok(())
}
