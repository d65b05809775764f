//! A plan as data: what its operations are, with their tensors in a list beside it.

mod check;
mod kept;
mod lower;
mod norm;
mod take;

pub(crate) use check::Widths;
pub(crate) use kept::KeptPlan;
pub use norm::RowNorm;
pub(crate) use take::{NotStored, take};

use super::{Activation, Pooling};
use crate::device::Window;

/// An operation without its tensors, which come in the order of [`slots`](Self::slots).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoredOperation {
    Sequence(Vec<StoredOperation>),
    Condition {
        z: Box<StoredOperation>,
        x: Box<StoredOperation>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t: Option<Box<StoredOperation>>,
    },
    Residual(Box<StoredOperation>),
    Projected {
        branch: Box<StoredOperation>,
        projection: Box<StoredOperation>,
    },
    Repeated(Vec<StoredOperation>),
    /// `plain`: by dfdx's own operations.
    Dense {
        inputs: usize,
        outputs: usize,
        plain: bool,
    },
    Activation(Activation),
    Dropout(f64),
    LayerNorm {
        width: usize,
        epsilon: f64,
    },
    /// Of each channel of an image.
    BatchNorm {
        channels: usize,
        epsilon: f64,
        momentum: f64,
    },
    /// Of each number of a row, by dfdx's own operations.
    RowNorm {
        width: usize,
        epsilon: f64,
    },
    Convolution {
        window: Window,
        filters: usize,
    },
    Pool {
        by: Pooling,
        window: Window,
    },
    ChannelsLast(usize),
    Flatten,
    TimeEmbedding(usize),
}

/// A tensor of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSlot {
    /// Its path, such as `0.z.weight`.
    pub(crate) path: String,
    /// Its sizes.
    pub(crate) shape: Vec<usize>,
}

impl StoredOperation {
    /// Its tensors, in their order.
    pub(crate) fn slots(&self) -> Vec<StoredSlot> {
        let mut slots = Vec::new();
        self.add_slots("", &mut slots);
        slots
    }

    fn add_slots(&self, path: &str, slots: &mut Vec<StoredSlot>) {
        let at = |name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        let parts: Vec<(String, &Self)> = match self {
            Self::Sequence(parts) | Self::Repeated(parts) => {
                parts.iter().enumerate().map(|(i, part)| (i.to_string(), part)).collect()
            }
            Self::Condition { z, x, t } => {
                let named = [("z", Some(z)), ("x", Some(x)), ("t", t.as_ref())];
                let named = named.into_iter().filter_map(|(name, part)| Some((name, part?)));
                named.map(|(name, part)| (name.to_owned(), &**part)).collect()
            }
            Self::Residual(branch) => vec![("branch".to_owned(), branch)],
            Self::Projected { branch, projection } => {
                vec![("branch".to_owned(), branch), ("projection".to_owned(), projection)]
            }
            _ => Vec::new(),
        };
        for (name, part) in parts {
            part.add_slots(&at(&name), slots);
        }
        let own = self.own_tensors().into_iter();
        slots.extend(own.map(|(name, shape)| StoredSlot { path: at(name), shape }));
    }

    /// The tensors that are not those of its parts.
    fn own_tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let norm = |width: usize| {
            let names = ["scale", "shift", "mean", "variance"];
            names.map(|name| (name, vec![width])).to_vec()
        };
        match *self {
            Self::Dense { inputs, outputs, .. } => {
                vec![("weight", vec![outputs, inputs]), ("bias", vec![outputs])]
            }
            Self::LayerNorm { width, .. } => norm(width)[..2].to_vec(),
            Self::BatchNorm { channels, .. } => norm(channels),
            Self::RowNorm { width, .. } => norm(width),
            Self::Convolution { window: Window { kernel, channels, .. }, filters } => {
                vec![("filter", vec![filters, kernel, kernel, channels]), ("bias", vec![filters])]
            }
            _ => Vec::new(),
        }
    }
}
