use dfdx_noprop::{fits, prelude::*};

type Trunk = (Planes<1, 8, 8>, Conv2d<1, 2, 7, 7, 2, 1, 0>, MaxPool2d<4, 4>, Flatten<32>, Dense<32, 32>);
type Block = (Condition<Dense<10, 32>, Trunk>, ReLU, Dense<32, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fits!(Model);

fn main() {
    println!("{}", std::any::type_name::<Model>());
}
