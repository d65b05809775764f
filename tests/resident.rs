//! Blocks that lie in a file while it is not their turn: the same weights, whatever is asked.

mod common;
use common::*;
use dfdx_noprop::{prelude::*, *};

type Dt = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;

fn variant() -> DiscreteTime {
    DiscreteTime { blocks: 6, ..DiscreteTime::default() }
}

fn fit(resident: Option<usize>) -> Fit {
    Fit { epochs: 2, resident, ..Fit::default() }
}

fn trained(fit: &Fit) -> Dt {
    let digits = data::digits().unwrap();
    let mut model = Dt::new(&AutoDevice::default(), variant()).unwrap();
    model.fit(&digits.train, fit).unwrap();
    model
}

fn all(model: &Dt) -> Vec<Vec<f32>> {
    model.blocks().iter().map(|block| weights(block.module())).collect()
}

#[test]
fn weights_and_answers_are_the_same_to_the_bit() {
    let digits = data::digits().unwrap();
    let rows = digits.test.samples();
    let whole = trained(&fit(None));
    for (resident, threads) in [(1, None), (2, Some(1)), (2, Some(2)), (4, Some(2)), (6, None)] {
        let streamed = trained(&Fit { threads, ..fit(Some(resident)) });
        assert!(all(&streamed) == all(&whole), "{resident} {threads:?}");
        assert!(streamed.predict_proba(rows).unwrap() == whole.predict_proba(rows).unwrap());
        assert!(
            streamed.sample(&rows[..20], 3, 1).unwrap() == whole.sample(&rows[..20], 3, 1).unwrap()
        );
        assert_eq!(
            streamed.evaluate(&digits.test).unwrap().accuracy,
            whole.evaluate(&digits.test).unwrap().accuracy
        );
        let until = |model: &Dt| model.predict_until(rows, 0.9).unwrap();
        assert!(until(&streamed) == until(&whole));
    }
}
