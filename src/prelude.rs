//! What a program needs, in one line: `use dfdx_noprop::prelude::*;`.

pub use dfdx::prelude::{
    AutoDevice, Const, Cpu, CpuError, HasErr, ReLU, Residual, SampleTensor, Tape, Tensor,
    TensorFrom, TensorFromVec, ZerosTensor,
};
pub use dfdx::tensor_ops::{BroadcastTo, MeanTo, SumTo, TryAdd, TryMatMul, TryMul, TrySub};

pub use crate::{
    Error, Fit, NoProp,
    data::{self, Dataset, Labels, Values},
    head::{Learned, OneHot, Prototypes, Regression},
    nn::{Condition, ConditionalResNetDt, Custom, Dense, Pair, Width},
    optim::{AdamW, Optimizer, Sgd},
    schedule::Schedule,
    variant::{DiscreteTime, Sampler},
};
