//! Layers made of layers: tuples, residual connections, repetitions.

use dfdx::{nn::modules::Repeated, prelude::*};

use super::{Joins, Kind, Misfit, Signal, Takes, Width};
use crate::{
    device::{Backend, Real},
    plan::{Borrowed, Lowered, Operation, fields},
};

macro_rules! tuple {
    ($first:ident 0 $(, $layer:ident $index:tt after $before:ident)*; last $last:ident) => {
        impl<In: Signal<E, D>, $first, $($layer,)* E: Real, D: Backend<E>> Takes<In, E, D>
            for ($first, $($layer,)*)
        where
            $first: Takes<In, E, D>,
            $($layer: Takes<$before::Out, E, D>,)*
        {
            type Out = $last::Out;
            type Then<S: Signal<E, D>> = tuple!(@then S; $first $($layer)*);
            const MISFIT: Misfit = $first::MISFIT$(.or($layer::MISFIT))*;

            #[allow(non_snake_case, reason = "the layers' type parameters name them")]
            fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
                let ($first, $($layer,)*) = fields!(built; 0 $(, $index)*);
                Ok(Operation::Sequence(vec![$first::lower($first)?, $($layer::lower($layer)?,)*]))
            }
        }
    };
    (@then $s:ident;) => { $s };
    (@then $s:ident; $layer:ident $($rest:ident)*) => { $layer::Then<tuple!(@then $s; $($rest)*)> };
}

tuple!(A 0; last A);
tuple!(A 0, B 1 after A; last B);
tuple!(A 0, B 1 after A, C 2 after B; last C);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C; last F);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C, G 4 after F; last G);
tuple!(A 0, B 1 after A, C 2 after B, F 3 after C, G 4 after F, H 5 after G; last H);

/// h + F(h): both ends of F have the width of h, which may be the input x.
impl<F, const N: usize, K: Kind, E: Real, D: Backend<E>> Takes<Width<N, K>, E, D> for Residual<F>
where
    F: Takes<Width<N>, E, D>,
    F::Then<F::Out>: Joins<Width<N>, Self, E, D>,
{
    type Out = Width<N>;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const MISFIT: Misfit = F::MISFIT;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let (branch,) = fields!(built; 0);
        Ok(Operation::Residual(Box::new(F::lower(branch)?)))
    }
}

/// F over and over, `N` times with weights of its own each: the width that goes in comes out.
impl<F, In, const N: usize, E: Real, D: Backend<E>> Takes<In, E, D> for Repeated<F, N>
where
    In: Signal<E, D>,
    F: Takes<In, E, D>,
    F::Then<F::Out>: Repeats<In, Self, E, D>,
{
    type Out = In;
    type Then<S: Signal<E, D>> = F::Then<S>;
    const MISFIT: Misfit = F::MISFIT;

    fn lower(built: Borrowed<'_, Self::Built>) -> Lowered<'_, E, D> {
        let rounds = built.each(|built| &built.modules, |built| &mut built.modules);
        rounds.into_iter().map(F::lower).collect::<Result<_, _>>().map(Operation::Repeated)
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
}

impl<Layer, const N: usize, E: Real, D: Backend<E>> Repeats<Width<N>, Layer, E, D> for Width<N> {}
