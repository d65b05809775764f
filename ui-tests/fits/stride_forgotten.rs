use dfdx_noprop::{fits, prelude::*};

type Trunk = (Planes<1, 8, 8>, Conv2d<1, 4, 8, 8, 3, 2>, Flatten<256>, Dense<256, 32>);
type Block = (Condition<Dense<10, 32>, Trunk>, ReLU, Dense<32, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fits!(Model);

fn main() {
    println!("{}", std::any::type_name::<Model>());
}
