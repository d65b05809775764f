use dfdx_noprop::{fits, prelude::*};

type Block = dfdx_noprop::nn::image::SmallNetDt<10>;
type Model = NoProp<DiscreteTime, Block, 10, 64>;
fits!(Model);

fn main() {
    println!("{}", std::any::type_name::<Model>());
}
