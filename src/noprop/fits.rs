//! A check of a model where its type is written.

/// Checks a model's type in this line: every layer takes what arrives, the head what comes out, and
/// the sizes of images follow from one another.
///
/// [`NoProp::new`](crate::NoProp::new) asks for the same, but the compiler computes sizes of images
/// when it makes the program: `cargo check`, and so an editor, says nothing of them without this
/// line. It is also for models that are made elsewhere, or nowhere yet.
///
/// ```
/// use dfdx_noprop::{fits, prelude::*};
///
/// type Convolution = Conv2d<1, 4, 4, 4, 3, 2>;
/// type Trunk = (Planes<1, 8, 8>, Convolution, ReLU, Flatten<64>, Dense<64, 32>);
/// type Block = (Condition<Dense<10, 32>, Trunk>, ReLU, Dense<32, 10>);
/// type Model = NoProp<DiscreteTime, Block, 10, 64>;
/// fits!(Model);
/// ```
///
/// Here the size is left as it was before a stride of 2:
///
/// ```compile_fail,E0080
/// use dfdx_noprop::{fits, prelude::*};
///
/// type Convolution = Conv2d<1, 4, 8, 8, 3, 2>;
/// type Trunk = (Planes<1, 8, 8>, Convolution, ReLU, Flatten<256>, Dense<256, 32>);
/// type Block = (Condition<Dense<10, 32>, Trunk>, ReLU, Dense<32, 10>);
/// type Model = NoProp<DiscreteTime, Block, 10, 64>;
/// fits!(Model);
/// ```
#[macro_export]
macro_rules! fits {
    ($model:ty) => {
        const _: () = <$model>::fits();
    };
}
