//! What the parts of a network are called: `block_3/residual/dense_1`.

use crate::{
    device::{Backend, Real},
    plan::{Activation, Operation, Pooling},
};

/// The operations of a sequence, those of sequences in it among them, each with a name that no
/// other has.
pub(super) fn parts<'s, 'a, E: Real, D: Backend<E>>(
    operations: &'s [Operation<'a, E, D>],
) -> Vec<(String, &'s Operation<'a, E, D>)> {
    let mut flat = Vec::new();
    flatten(operations, &mut flat);
    let kinds: Vec<String> = flat.iter().map(|operation| kind(operation)).collect();
    let name = |(i, operation): (usize, _)| {
        let own = &kinds[i];
        let of_kind = |kinds: &[String]| kinds.iter().filter(|kind| *kind == own).count();
        let name = match of_kind(&kinds) {
            1 => own.clone(),
            _ => format!("{own}_{}", of_kind(&kinds[..=i])),
        };
        (name, operation)
    };
    flat.into_iter().enumerate().map(name).collect()
}

fn flatten<'s, 'a, E: Real, D: Backend<E>>(
    operations: &'s [Operation<'a, E, D>],
    flat: &mut Vec<&'s Operation<'a, E, D>>,
) {
    for operation in operations {
        match operation {
            Operation::Sequence(inner) => flatten(inner, flat),
            other => flat.push(other),
        }
    }
}

/// What an operation is called.
pub(super) fn kind<E: Real, D: Backend<E>>(operation: &Operation<'_, E, D>) -> String {
    let kind = match operation {
        Operation::Sequence(_) => "sequence",
        Operation::Condition { .. } => "condition",
        Operation::Residual(_) => "residual",
        Operation::Projected { .. } => "projected_residual",
        Operation::Repeated(_) => "repeated",
        Operation::Dense(_) => "dense",
        Operation::FusedResidual(_) => "fused_residual",
        Operation::Activation(Activation::FastGelu) => "fast_gelu",
        Operation::Activation(function) => return format!("{function:?}").to_lowercase(),
        Operation::Dropout(_) => "dropout",
        Operation::LayerNorm { .. } => "layer_norm",
        Operation::BatchNorm(_) => "batch_norm",
        Operation::Convolution(_) => "convolution",
        Operation::Pool { by: Pooling::Max, .. } => "max_pool",
        Operation::Pool { .. } => "mean_pool",
        Operation::ChannelsLast(_) => "planes",
        Operation::Flatten => "flatten",
        Operation::TimeEmbedding(_) => "time_embedding",
        Operation::Module(module) => return module.name(),
    };
    kind.to_owned()
}

/// A place in a network as weights are named: `block_3.residual.dense_1`.
pub(super) fn dotted(path: &str) -> String {
    path.replace('/', ".")
}
