use dfdx_noprop::{fits, prelude::*};

type Block = ConditionalResNetDt<10, 784>;
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fits!(Model);

fn main() {
    println!("{}", std::any::type_name::<Model>());
}
