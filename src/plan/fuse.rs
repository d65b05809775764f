//! What inference computes as one: linear layers in a row, and weights laid out for many calls.

use dfdx::prelude::*;

use super::{Dense, FusedResidual, Operation};
use crate::device::{Backend, Real};

/// How a plan is used in an inference.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// How many rows a call has.
    rows: usize,
    /// How many calls there are, about.
    calls: usize,
}

impl Use {
    /// Whether it pays to compose two dense layers, `[n, i]` and then `[o, n]`.
    ///
    /// To compose them takes o n i multiply-adds, and each row is spared (n − o) i.
    fn composes(self, n: usize, o: usize) -> bool {
        /// The composition's own product is small, and its speed that of a few rows.
        const SLOWER: usize = 4;
        n > o && self.in_all().saturating_mul(n - o) > SLOWER * o * n
    }

    /// How many rows all calls have.
    fn in_all(self) -> usize {
        self.calls.saturating_mul(self.rows)
    }

    /// Whether nothing pays: no two layers are composed for four rows, whatever their widths.
    fn is_too_little(self) -> bool {
        self.in_all() <= 4 && !self.lays_out()
    }

    /// Whether there are enough calls to lay weights out for them.
    fn lays_out(self) -> bool {
        self.calls >= 4
    }
}

/// The same function for about `calls` calls with `rows` rows each, faster where that pays.
pub(crate) fn fuse<'a, E: Real, D: Backend<E>>(
    operation: Operation<'a, E, D>,
    rows: usize,
    calls: usize,
) -> Result<Operation<'a, E, D>, D::Err> {
    let by = Use { rows, calls };
    if by.is_too_little() { Ok(operation) } else { fused(operation, by) }
}

fn fused<'a, E: Real, D: Backend<E>>(
    operation: Operation<'a, E, D>,
    by: Use,
) -> Result<Operation<'a, E, D>, D::Err> {
    Ok(match operation {
        Operation::Sequence(mut operations) => {
            let (last, before) = (operations.pop(), operations.pop());
            let mut all = operations
                .into_iter()
                .map(|operation| fused(operation, by))
                .collect::<Result<Vec<_>, _>>()?;
            match (before, last) {
                (Some(before), Some(last)) => all.extend(pair(before, last, by)?),
                (before, last) => {
                    for operation in before.into_iter().chain(last) {
                        all.push(fused(operation, by)?);
                    }
                }
            }
            Operation::Sequence(all)
        }
        Operation::Residual(branch) => Operation::Residual(Box::new(fused(*branch, by)?)),
        Operation::Repeated(rounds) => {
            let rounds = rounds.into_iter().map(|round| fused(round, by));
            Operation::Repeated(rounds.collect::<Result<_, _>>()?)
        }
        // What depends on x alone is computed once, and one time stands for all rows.
        Operation::Condition { z, x, t: Some(t) } => Operation::Condition {
            z: Box::new(fused(*z, by)?),
            x,
            t: Some(Box::new(fused(*t, Use { rows: 1, ..by })?)),
        },
        Operation::Dense(layer) => Operation::Dense(laid_out(layer, by)?),
        other => other,
    })
}

/// The last two of a sequence: L(h + F(h)) for linear L is L(h) + (L F)(h), and where F ends in a
/// linear layer, L and that layer are one.
fn pair<'a, E: Real, D: Backend<E>>(
    before: Operation<'a, E, D>,
    last: Operation<'a, E, D>,
    by: Use,
) -> Result<Vec<Operation<'a, E, D>>, D::Err> {
    match (before, last) {
        (Operation::Sequence(mut front), last) => {
            let Some(before) = front.pop() else { return Ok(vec![fused(last, by)?]) };
            let front = front.into_iter().map(|operation| fused(operation, by));
            let mut all = front.collect::<Result<Vec<_>, _>>()?;
            all.extend(pair(before, last, by)?);
            Ok(all)
        }
        (Operation::Residual(branch), Operation::Dense(next))
            if !next.plain && ends_dense(&branch) && by.composes(next.inputs(), next.outputs()) =>
        {
            let mut front = Vec::new();
            let end = split_dense(*branch, by, &mut front)?;
            let Some(end) = end else { return Ok(front) };
            let composed = after(&next, &end)?;
            let fused = FusedResidual { front, next: laid_out(next, by)?, composed };
            Ok(vec![Operation::FusedResidual(Box::new(fused))])
        }
        (before, last) => Ok(vec![fused(before, by)?, fused(last, by)?]),
    }
}

/// Whether the last layer is a dense one of this crate.
fn ends_dense<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>) -> bool {
    match operation {
        Operation::Dense(layer) => !layer.plain,
        Operation::Sequence(operations) => operations.last().is_some_and(ends_dense),
        _ => false,
    }
}

/// The last dense layer; what comes before it goes to `front`.
fn split_dense<'a, E: Real, D: Backend<E>>(
    operation: Operation<'a, E, D>,
    by: Use,
    front: &mut Vec<Operation<'a, E, D>>,
) -> Result<Option<Dense<E, D>>, D::Err> {
    match operation {
        Operation::Dense(layer) => Ok(Some(layer)),
        Operation::Sequence(mut operations) => {
            let Some(last) = operations.pop() else { return Ok(None) };
            for operation in operations {
                front.push(fused(operation, by)?);
            }
            split_dense(last, by, front)
        }
        other => {
            front.push(other);
            Ok(None)
        }
    }
}

/// W V and W v, for another layer's V and v: both layers in one, but for this one's bias.
fn after<E: Real, D: Backend<E>>(
    layer: &Dense<E, D>,
    before: &Dense<E, D>,
) -> Result<Dense<E, D>, D::Err> {
    let (n, o) = (layer.inputs(), layer.outputs());
    let weight = &layer.weight;
    let zeros = |n: usize| weight.device().try_zeros_like(&(n,));
    let bias = before.bias.clone().try_reshape_like(&(1, n))?;
    let bias = D::dense(bias, weight, &zeros(o)?, false)?;
    let no_bias = zeros(before.inputs())?;
    let weight = D::dense_transposed(weight.clone(), &before.weight, &no_bias, None)?;
    Ok(Dense::new(weight, bias.try_reshape_like(&(o,))?))
}

/// With Wᵀ laid out, where that is faster.
fn laid_out<E: Real, D: Backend<E>>(layer: Dense<E, D>, by: Use) -> Result<Dense<E, D>, D::Err> {
    /// A product of fewer columns reads the weights as they are.
    const WIDE: usize = 32;
    if layer.plain || !(D::TRANSPOSES && by.lays_out() && layer.outputs() >= WIDE) {
        return Ok(layer);
    }
    let transposed = Some(Box::new(D::transposed(&layer.weight)?));
    Ok(Dense { transposed, ..layer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nn::{ConditionalResNetCt, Takes, Timed},
        plan::{Borrowed, Inputs, Value, infer},
    };

    type Narrow = ConditionalResNetCt<3, 6, 16>;
    type Several = crate::conditional_resnet_ct!(3, 6, [16, 24] => 5);
    /// As wide at the end as in the middle: nothing to gain.
    type Wide = ConditionalResNetCt<3, 6, 16, 16>;

    /// How many tensors are made of weights: compositions, and weights that are laid out.
    fn made(operation: &Operation<'_, f64, Cpu>) -> usize {
        let laid_out = |layer: &Dense<f64, Cpu>| usize::from(layer.transposed.is_some());
        let own = match operation {
            Operation::Dense(layer) => laid_out(layer),
            Operation::FusedResidual(fused) => {
                let FusedResidual { next, composed, .. } = &**fused;
                1 + laid_out(next) + laid_out(composed)
            }
            _ => 0,
        };
        own + operation.parts().map(made).sum::<usize>()
    }

    /// The largest difference that it makes, and how much is made of weights.
    fn composed<M>(rows: usize, calls: usize) -> (f64, usize)
    where
        M: Takes<Timed<3, 6>, f64, Cpu>,
    {
        let dev = Cpu::seed_from_u64(1);
        let module = M::try_build_on_device(&dev).unwrap();
        let z = dev.sample_normal_like(&(rows, 3));
        let x = dev.sample_normal_like(&(rows, 6));
        let input = Inputs { z, x, t: Some(dev.sample_uniform_like(&(rows,))) };
        let numbers = |plan: &Operation<'_, f64, Cpu>| {
            let output = infer(plan, Value::Inputs(input.clone()), None).unwrap();
            output.into_rows().unwrap().0.as_vec()
        };
        let plan = || M::lower(Borrowed::Shared(&module)).unwrap();
        let (plain, fused) = (numbers(&plan()), fuse(plan(), rows, calls).unwrap());
        let mut most = 0.0f64;
        for _ in 0..2 {
            let other = numbers(&fused);
            assert_eq!(plain.len(), other.len());
            most = plain.iter().zip(&other).fold(most, |most, (a, b)| most.max((a - b).abs()));
        }
        (most, made(&fused))
    }

    #[test]
    fn linear_layers_in_a_row_are_computed_as_one_where_that_pays() {
        // Layers of less than 32 numbers are not laid out.
        for (found, layers) in [
            (composed::<Narrow>(20, 10), 1),
            (composed::<Narrow>(1, 200), 1),
            (composed::<Several>(20, 10), 1),
            (composed::<Narrow>(1, 1), 0),
            (composed::<Wide>(20, 10), 0),
        ] {
            assert_eq!(found.1, layers);
            assert!(found.0 < 1e-12, "{found:?}");
            // Another order of summation is another rounding.
            assert_eq!(found.0 > 0.0, layers > 0, "{found:?}");
        }
    }

    #[test]
    fn weights_are_laid_out_once_for_many_calls() {
        type Broad = ConditionalResNetCt<3, 6, 40>;
        // Of z, of the embedding of t, and the first of the residual; the second is composed with
        // the head.
        let (most, kept) = composed::<Broad>(7, 10);
        assert_eq!(kept, 4);
        assert!(most < 1e-12);
        assert_eq!(composed::<Broad>(7, 1).1, 0);
    }
}
