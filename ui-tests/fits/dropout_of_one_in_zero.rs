use dfdx_noprop::{fits, prelude::*};

type Block = (Condition<Dense<10, 32>, Dense<64, 32>>, DropoutOneIn<0>, Dense<32, 10>);
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fits!(Model);

fn main() {
    println!("{}", std::any::type_name::<Model>());
}
