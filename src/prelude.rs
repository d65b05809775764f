//! What a program needs, in one line: `use dfdx_noprop::prelude::*;`.
//!
//! Beside this crate's types it has what one needs of dfdx to declare layers and to work with
//! tensors.

pub use dfdx::{
    nn::{BuildOnDevice, Module, ModuleMut, NonMutableModule, builders::*},
    shapes::{Axis, Const, ConstDim, Dim, Dtype, HasShape, Rank0, Rank1, Rank2, Shape},
    tensor::{
        AsArray, AutoDevice, Cpu, CpuError, HasErr, NoneTape, OwnedTape, PutTape, SampleTensor,
        SplitTape, Storage, Tape, Tensor, TensorFrom, TensorFromVec, Trace, ZerosTensor,
    },
    tensor_ops::{
        Backward, BroadcastTo, Device, MeanTo, PermuteTo, ReshapeTo, SumTo, TryAdd, TryDiv,
        TryMatMul, TryMul, TrySub,
    },
};

pub use crate::{
    Error, Fit, NoProp, Precision, Runs, Suits,
    data::{self, Dataset, Labels, Values},
    gradient::{ActivityNoise, Estimator, WeightNoise},
    head::{Learned, OneHot, Prototypes, Regression, Velocity},
    nn::{
        Condition, ConditionalResNetCt, ConditionalResNetDt, ConditionalResNetFm, Custom, Dense,
        Pair, TimeEmbedding, Timed, TimedCondition, Width,
        image::{AvgPool2d, BatchNorm, Conv2d, Flatten, Image, MaxPool2d, Planes},
    },
    optim::{AdamW, Decay, LearningRate, Optimizer, Sgd},
    schedule::{GammaSchedule, MonotoneNetwork, NoiseDistribution, Partition, Path, Schedule},
    solver::{Method, Save, Solver, Steps},
    variant::{
        ContinuousTime, DiffusionBlocks, DiscreteTime, Estimate, EstimateWeighting, FlowMatching,
        Inference, Probabilities, ReverseVariance, Sampler, TimeSampling, Variant, Weighting,
    },
};
