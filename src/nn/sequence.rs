//! Layers made of layers: tuples, residual connections, repetitions.

use dfdx::{nn::modules::Repeated, prelude::*};

use super::{Encoded, Joins, NoisedPass, Signal, StackPass, Takes, Width};
use crate::device::{Backend, Real, Rows, TracedRows};

macro_rules! tuple {
    ($first:ident 0 $(, $layer:ident $index:tt after $before:ident)*; last $last:ident $end:tt) => {
        impl<In: Signal<E, D>, $first, $($layer,)* E: Real, D: Backend<E>> Takes<In, E, D>
            for ($first, $($layer,)*)
        where
            $first: Takes<In, E, D>,
            $($layer: Takes<$before::Out, E, D>,)*
        {
            type Out = $last::Out;
            type Then<S: Signal<E, D>> = tuple!(@then S; $first $($layer)*);
            const WEIGHTS: bool = $first::WEIGHTS $(|| $layer::WEIGHTS)*;
            const DRAWS: bool = $first::DRAWS $(|| $layer::DRAWS)*;

            fn rowwise(built: &Self::Built) -> Option<Self::Built> {
                Some(($first::rowwise(&built.0)?, $($layer::rowwise(&built.$index)?,)*))
            }
            const ENDS_DENSE: bool = $last::ENDS_DENSE;
            const LINEAR: bool = $last::LINEAR $(&& !$before::WEIGHTS)*;

            fn infer(
                built: &Self::Built,
                input: In::Plain,
            ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
                Self::infer_encoded(built, input, &Encoded::default())
            }

            fn encode(
                built: &Self::Built,
                input: &In::Plain,
            ) -> Result<Option<Encoded>, D::Err> {
                $first::encode(&built.0, input)
            }

            fn infer_encoded(
                built: &Self::Built,
                input: In::Plain,
                encoded: &Encoded,
            ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
                tuple!(@encoded built, input, encoded; $first 0 $($layer $index)*)
            }

            fn infer_then<Next: Takes<Self::Out, E, D>>(
                built: &Self::Built,
                next: &Next::Built,
                input: In::Plain,
                encoded: &Encoded,
            ) -> Result<<Next::Out as Signal<E, D>>::Plain, D::Err> {
                let h = tuple!(@front built, input, encoded; $first 0 $($layer $index)*);
                $last::infer_then::<Next>(&built.$end, next, h, encoded)
            }

            fn infer_composed<Next: Takes<Width<N>, E, D>, const N: usize>(
                built: &Self::Built,
                next: &Next::Built,
                (input, sum): (In::Plain, <Next::Out as Signal<E, D>>::Plain),
                encoded: &Encoded,
            ) -> Result<Option<<Next::Out as Signal<E, D>>::Plain>, D::Err> {
                let h = tuple!(@front built, input, encoded; $first 0 $($layer $index)*);
                $last::infer_composed::<Next, N>(&built.$end, next, (h, sum), encoded)
            }

            fn train(
                built: &mut Self::Built,
                input: In::Traced,
            ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err> {
                let h = $first::train(&mut built.0, input)?;
                $(let h = $layer::train(&mut built.$index, h)?;)*
                Ok(h)
            }

            fn train_onto(
                built: &mut Self::Built,
                input: In::Traced,
                sum: <Self::Out as Signal<E, D>>::Traced,
            ) -> Result<<Self::Out as Signal<E, D>>::Traced, D::Err> {
                let h = tuple!(@trained built, input; $first 0 $($layer $index)*);
                $last::train_onto(&mut built.$end, h, sum)
            }

            fn noised(
                built: &mut Self::Built,
                input: In::Plain,
                pass: &mut NoisedPass<E, D>,
            ) -> Result<<Self::Out as Signal<E, D>>::Plain, D::Err> {
                let h = $first::noised(&mut built.0, input, pass)?;
                $(let h = $layer::noised(&mut built.$index, h, pass)?;)*
                Ok(h)
            }

            fn stacked(
                built: &mut Self::Built,
                input: In::Traced,
                pass: &mut StackPass<'_, E, D>,
            ) -> Result<Option<<Self::Out as Signal<E, D>>::Traced>, D::Err> {
                let Some(h) = $first::stacked(&mut built.0, input, pass)? else { return Ok(None) };
                $(
                    let Some(h) = $layer::stacked(&mut built.$index, h, pass)? else {
                        return Ok(None);
                    };
                )*
                Ok(Some(h))
            }
        }
    };
    // All layers, of which the last two may be computed together.
    (@encoded $built:ident, $h:ident, $encoded:ident; $a:ident $i:tt) => {
        $a::infer_encoded(&$built.$i, $h, $encoded)
    };
    (@encoded $built:ident, $h:ident, $encoded:ident; $a:ident $i:tt $b:ident $j:tt) => {
        $a::infer_then::<$b>(&$built.$i, &$built.$j, $h, $encoded)
    };
    (@encoded $built:ident, $h:ident, $encoded:ident; $a:ident $i:tt $($rest:tt)+) => {{
        let h = $a::infer_encoded(&$built.$i, $h, $encoded)?;
        tuple!(@encoded $built, h, $encoded; $($rest)+)
    }};
    (@trained $built:ident, $h:ident; $a:ident $i:tt) => { $h };
    (@trained $built:ident, $h:ident; $a:ident $i:tt $($rest:tt)+) => {{
        let h = $a::train(&mut $built.$i, $h)?;
        tuple!(@trained $built, h; $($rest)+)
    }};
    // All layers but the last.
    (@front $built:ident, $h:ident, $encoded:ident; $a:ident $i:tt) => { $h };
    (@front $built:ident, $h:ident, $encoded:ident; $a:ident $i:tt $($rest:tt)+) => {{
        let h = $a::infer_encoded(&$built.$i, $h, $encoded)?;
        tuple!(@front $built, h, $encoded; $($rest)+)
    }};
    (@then $s:ident;) => { $s };
    (@then $s:ident; $layer:ident $($rest:ident)*) => { $layer::Then<tuple!(@then $s; $($rest)*)> };
}

tuple!(A 0; last A 0);
tuple!(A 0, B 1 after A; last B 1);
tuple!(A 0, B 1 after A, C 2 after B; last C 2);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C; last F 3);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C, G 4 after F; last G 4);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C, G 4 after F, H 5 after G; last H 5);

/// h + F(h): both ends of F have the width of h.
impl<F, const N: usize, E: Real, D: Backend<E>> Takes<Width<N>, E, D> for Residual<F>
where
    F: Takes<Width<N>, E, D>,
    F::Out: Joins<Width<N>, Self, E, D>,
{
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const DRAWS: bool = F::DRAWS;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        Some(Residual(F::rowwise(&built.0)?))
    }

    fn infer(
        built: &Self::Built,
        input: Rows<Const<N>, E, D>,
    ) -> Result<Rows<Const<N>, E, D>, D::Err> {
        Self::infer_encoded(built, input, &Encoded::default())
    }

    /// L(h + F(h)) for linear L is L(h) + (L F)(h), and where F ends in a linear layer, L and that layer are one.
    fn infer_then<L: Takes<Width<N>, E, D>>(
        built: &Self::Built,
        next: &L::Built,
        input: Rows<Const<N>, E, D>,
        encoded: &Encoded,
    ) -> Result<<L::Out as Signal<E, D>>::Plain, D::Err> {
        let linear = F::ENDS_DENSE && L::DENSE > 0;
        if linear && encoded.composes(input.shape().0, N, L::DENSE) {
            let skip = L::infer_encoded(next, input.clone(), encoded)?;
            let ends = (input.clone(), skip);
            if let Some(sum) = F::infer_composed::<L, N>(&built.0, next, ends, encoded)? {
                return Ok(sum);
            }
        }
        L::infer_encoded(next, Self::infer_encoded(built, input, encoded)?, encoded)
    }

    fn infer_encoded(
        built: &Self::Built,
        input: Rows<Const<N>, E, D>,
        encoded: &Encoded,
    ) -> Result<Rows<Const<N>, E, D>, D::Err> {
        let branch = F::infer_encoded(&built.0, input.clone(), encoded)?;
        <F::Out as Joins<Width<N>, Self, E, D>>::add_plain(input, branch)
    }

    fn train(
        built: &mut Self::Built,
        input: TracedRows<Const<N>, E, D>,
    ) -> Result<TracedRows<Const<N>, E, D>, D::Err> {
        let skip = input.with_empty_tape();
        let branch = F::train(&mut built.0, input)?;
        <F::Out as Joins<Width<N>, Self, E, D>>::add_traced(skip, branch)
    }

    fn noised(
        built: &mut Self::Built,
        input: Rows<Const<N>, E, D>,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<Rows<Const<N>, E, D>, D::Err> {
        let branch = F::noised(&mut built.0, input.clone(), pass)?;
        <F::Out as Joins<Width<N>, Self, E, D>>::add_plain(input, branch)
    }

    fn stacked(
        built: &mut Self::Built,
        input: TracedRows<Const<N>, E, D>,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<TracedRows<Const<N>, E, D>>, D::Err> {
        let skip = input.with_empty_tape();
        let Some(branch) = F::stacked(&mut built.0, input, pass)? else { return Ok(None) };
        <F::Out as Joins<Width<N>, Self, E, D>>::add_traced(skip, branch).map(Some)
    }
}

/// F over and over, `N` times with weights of its own each: the width that goes in comes out.
impl<F, In, const N: usize, E: Real, D: Backend<E>> Takes<In, E, D> for Repeated<F, N>
where
    In: Signal<E, D>,
    F: Takes<In, E, D>,
    F::Out: Repeats<In, Self, E, D>,
{
    type Out = In;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const DRAWS: bool = F::DRAWS;

    fn rowwise(built: &Self::Built) -> Option<Self::Built> {
        let modules = built.modules.iter().map(F::rowwise).collect::<Option<_>>()?;
        Some(Repeated { modules })
    }

    fn infer(built: &Self::Built, input: In::Plain) -> Result<In::Plain, D::Err> {
        Self::infer_encoded(built, input, &Encoded::default())
    }

    fn infer_encoded(
        built: &Self::Built,
        input: In::Plain,
        encoded: &Encoded,
    ) -> Result<In::Plain, D::Err> {
        let mut rounds = built.modules.iter();
        rounds.try_fold(input, |h, layer| {
            let h = F::infer_encoded(layer, h, encoded)?;
            Ok(<F::Out as Repeats<In, Self, E, D>>::plain(h))
        })
    }

    fn train(built: &mut Self::Built, input: In::Traced) -> Result<In::Traced, D::Err> {
        let mut rounds = built.modules.iter_mut();
        rounds.try_fold(input, |h, layer| Ok(F::Out::traced(F::train(layer, h)?)))
    }

    fn noised(
        built: &mut Self::Built,
        input: In::Plain,
        pass: &mut NoisedPass<E, D>,
    ) -> Result<In::Plain, D::Err> {
        let mut rounds = built.modules.iter_mut();
        rounds.try_fold(input, |h, layer| {
            Ok(<F::Out as Repeats<In, Self, E, D>>::plain(F::noised(layer, h, pass)?))
        })
    }

    fn stacked(
        built: &mut Self::Built,
        input: In::Traced,
        pass: &mut StackPass<'_, E, D>,
    ) -> Result<Option<In::Traced>, D::Err> {
        let mut h = input;
        for layer in &mut built.modules {
            let Some(next) = F::stacked(layer, h, pass)? else { return Ok(None) };
            h = F::Out::traced(next);
        }
        Ok(Some(h))
    }
}

/// A signal that comes out of one round of `Layer` and can go into the next: the same as `In`.
#[diagnostic::on_unimplemented(
    message = "the rounds of `{Layer}` do not meet: a `{Self}` comes out where a `{In}` goes in",
    label = "a `{Self}` arrives where a `{In}` is needed",
    note = "what is repeated has to give the width that it takes"
)]
pub trait Repeats<In: Signal<E, D>, Layer, E: Real = f32, D: Backend<E> = AutoDevice>:
    Signal<E, D>
{
    /// What goes into the next round, in inference.
    fn plain(this: Self::Plain) -> In::Plain;

    /// What goes into the next round, in training.
    fn traced(this: Self::Traced) -> In::Traced;
}

impl<Layer, const N: usize, E: Real, D: Backend<E>> Repeats<Width<N>, Layer, E, D> for Width<N> {
    fn plain(this: Self::Plain) -> Self::Plain {
        this
    }

    fn traced(this: Self::Traced) -> Self::Traced {
        this
    }
}
