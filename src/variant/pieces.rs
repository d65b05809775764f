//! A batch in pieces, each of which goes forward and back on one thread.

use std::ops::Range;

use dfdx::{nn::TensorCollection, prelude::*};

use super::{
    State as _,
    network::{self, Beside, Draw, HeadOut, Network, Went},
    objective::Target,
    step::on_device,
};
use crate::{
    device::{Backend, Real, Workers},
    error::Error,
    head::Head as _,
    noprop::{Block, OpsOf, TargetsOf},
    optim::move_gradients,
    train::{Chosen, Trained},
};

/// How many pieces a batch is cut into: it follows from the rows alone, so that sums are the same for any number of threads.
fn count(rows: usize) -> usize {
    /// Fewer rows do not pay for a gradient of their own.
    const LEAST: usize = 128;
    /// More than two pieces are worth one each only if they are as large as this.
    const LARGE: usize = 512;
    /// Each has a gradient of all weights.
    const MOST: usize = 4;
    match rows / LEAST {
        0 | 1 => 1,
        _ => (rows / LARGE).clamp(2, MOST),
    }
}

/// Forward and back, in pieces where the rows do not need each other.
pub(super) fn backward<V, B, const Z: usize, const X: usize, E: Real, D: Backend<E>>(
    beside: Beside<'_, V, Z, X, E, D>,
    ops: OpsOf<V, B, Z, X, E, D>,
    block: &mut Block<B, E, D>,
    draw: Draw<'_, HeadOut<V, Z, X, E, D>, Z, E, D>,
    batch: &Chosen<'_, X, TargetsOf<V, Z, X, E, D>, E>,
    step: u64,
) -> Result<Went<E, D>, Error>
where
    V: Network<Z, X, E, D>,
    B: TensorCollection<E, D>,
{
    let failed = || Error::device("a training step");
    let (_, state, _) = beside;
    let rows = batch.rows();
    // A device without threads would only wait for the host to cut.
    let pieces = if D::THREADS { count(rows) } else { 1 };
    // What is trained beside the network has one gradient, from all rows.
    let alone = V::Head::LEARNED || state.learned().is_some();
    let copies = || (1..=pieces).map(|_| (ops.by_rows)(&block.module)).collect::<Option<Vec<B>>>();
    let Some(copies) = (pieces > 1 && !alone).then(copies).flatten() else {
        let x = batch.inputs(draw.times.device(), 0..rows).map_err(failed())?;
        return network::backward::<V, B, Z, X, E, D>(
            beside,
            ops.train,
            block,
            (draw, x),
            step,
            1.0,
        );
    };
    let kept = block.gradients.take().into_iter().chain(std::mem::take(&mut block.more_gradients));
    let mut kept = kept.map(Some).chain(std::iter::repeat_with(|| None));
    let copies = copies.into_iter().zip(&mut kept);
    let mut parts: Vec<_> = copies
        .map(|(module, gradients)| Block {
            gradients,
            ..Block::new(block.t, module, draw.times.device().clone())
        })
        .collect();
    let (variant, host) = (beside.0, Host::new(&draw, beside.2));
    let trained = (ops.each)(&mut parts, &Workers::around(), &|i, part: &mut Block<B, E, D>| {
        let _reuse = D::reuse(rows);
        let range = i * rows / pieces..(i + 1) * rows / pieces;
        let share = range.len() as f64 / rows as f64;
        let x = batch.inputs(&part.device, range.clone()).map_err(failed())?;
        // Nothing is trained beside the network, so that the state follows from the settings.
        let state = variant.start(&part.device)?;
        let table = on_device(&part.device, host.table.clone(), Default::default())?;
        let (beside, draw) = ((variant, &state, &table), host.some(&table, range)?);
        let went =
            network::backward::<V, B, Z, X, E, D>(beside, ops.train, part, (draw, x), step, share);
        let (terms, output, terminal, gradients) = went?;
        part.gradients = Some(gradients);
        let [terms, terminal] = [terms, terminal].map(|means| means.map(|mean| share * mean));
        Ok(Trained { losses: vec![terms], terminal, output, ..Trained::default() })
    });
    let (mut terms, mut terminal, mut output) = ([0.0; 2], [0.0; 2], Vec::new());
    let add = |to: &mut [f64; 2], from: [f64; 2]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    };
    for part in trained {
        let part = part?;
        part.losses.into_iter().for_each(|one| add(&mut terms, one));
        add(&mut terminal, part.terminal);
        output.extend(part.output);
    }
    let mut gradients = parts.into_iter().filter_map(|part| part.gradients);
    let Some(mut sum) = gradients.next() else {
        return Err(Error::argument("a training step", "gradients of a piece", "none"));
    };
    block.more_gradients = gradients.collect();
    for more in &mut block.more_gradients {
        move_gradients(&block.module, &mut sum, more).map_err(failed())?;
    }
    Ok((terms, output, terminal, sum))
}

/// What was drawn for a batch, and its targets, as numbers.
struct Host<E> {
    u: Vec<E>,
    one_hot: Option<Vec<E>>,
    weights: Option<Vec<E>>,
    noise: Vec<E>,
    end_noise: Option<Vec<E>>,
    times: Vec<f64>,
    table: Vec<E>,
}

impl<E: Real> Host<E> {
    fn new<O: ConstDim, const Z: usize, D: Backend<E>>(
        draw: &Draw<'_, O, Z, E, D>,
        table: &Tensor<(O, Const<Z>), E, D>,
    ) -> Self {
        let Draw { target, noise, end_noise, host_times, .. } = draw;
        Self {
            u: target.u.as_vec(),
            one_hot: target.one_hot.as_ref().map(Tensor::as_vec),
            weights: target.weights.as_ref().map(Tensor::as_vec),
            noise: noise.as_vec(),
            end_noise: end_noise.as_ref().map(Tensor::as_vec),
            times: host_times.clone(),
            table: table.as_vec(),
        }
    }

    /// Some of the rows, on the device of the embedding.
    fn some<'a, O: ConstDim, const Z: usize, D: Backend<E>>(
        &self,
        table: &'a Tensor<(O, Const<Z>), E, D>,
        rows: Range<usize>,
    ) -> Result<Draw<'a, O, Z, E, D>, Error> {
        let (device, count) = (table.device(), rows.len());
        let latents = |all: &[E]| {
            let some = all[rows.start * Z..rows.end * Z].to_vec();
            on_device(device, some, (count, Const::<Z>))
        };
        let one_hot = self.one_hot.as_ref().map(|all| {
            let width = O::default().size();
            let some = all[rows.start * width..rows.end * width].to_vec();
            on_device(device, some, (count, O::default()))
        });
        let column = |all: Vec<E>| on_device(device, all, (count,));
        let weights = self.weights.as_ref().map(|all| column(all[rows.clone()].to_vec()));
        let host_times = self.times[rows.clone()].to_vec();
        Ok(Draw {
            target: Target {
                u: latents(&self.u)?,
                one_hot: one_hot.transpose()?,
                table,
                weights: weights.transpose()?,
            },
            noise: latents(&self.noise)?,
            end_noise: self.end_noise.as_deref().map(latents).transpose()?,
            times: column(host_times.iter().map(|&t| E::of(t)).collect())?,
            host_times,
        })
    }
}
