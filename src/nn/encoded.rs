//! What a network keeps between the calls of an inference.

use std::{
    any::Any,
    cell::{Cell, RefCell},
};

/// What layers keep for calls with the same x and the same weights: what they make of x alone, and of the last time alone; and dense
/// layers that are two of the network's in one.
#[derive(Debug, Default)]
pub struct Encoded {
    x: Option<Box<dyn Any>>,
    /// How many calls there will be, about.
    calls: usize,
    /// The time of all rows in the call to come, if it is one.
    now: Cell<Option<f64>>,
    time: RefCell<Option<(f64, Box<dyn Any>)>>,
    /// What is made of weights, by their place in memory.
    made: RefCell<Vec<(usize, Box<dyn Any>)>>,
}

impl Encoded {
    /// What a layer makes of x alone.
    pub(super) fn new(value: impl Any) -> Self {
        Self { x: Some(Box::new(value)), ..Self::default() }
    }

    /// The same for about so many calls.
    pub(crate) fn for_calls(self, calls: usize) -> Self {
        Self { calls, ..self }
    }

    /// Whether there is something that a layer makes of x alone, so that one time may stand for all rows.
    pub(crate) fn has_input(&self) -> bool {
        self.x.is_some()
    }

    /// What was kept, if this is its type.
    pub(super) fn get<T: Any + Clone>(&self) -> Option<T> {
        self.x.as_ref()?.downcast_ref().cloned()
    }

    /// All rows of the next call have this time.
    pub(crate) fn at(&self, t: f64) {
        self.now.set(Some(t));
    }

    /// What is made of the time: what the last call made of it, if that had the same.
    pub(super) fn of_time<T: Any + Clone, Err>(
        &self,
        make: impl FnOnce() -> Result<T, Err>,
    ) -> Result<T, Err> {
        let now = self.now.take();
        let kept = self.time.borrow_mut().take_if(|(time, _)| Some(*time) == now);
        if let Some((time, value)) = kept
            && let Some(last) = value.downcast_ref().cloned()
        {
            self.time.replace(Some((time, value)));
            return Ok(last);
        }
        let value = make()?;
        if let Some(now) = now {
            self.time.replace(Some((now, Box::new(value.clone()))));
        }
        Ok(value)
    }

    /// Whether calls with `rows` rows are enough to compose two dense layers, `[n, i]` and then `[o, n]`.
    ///
    /// To compose them takes o n i multiply-adds, and each row is spared (n − o) i.
    pub(super) fn composes(&self, rows: usize, n: usize, o: usize) -> bool {
        /// The composition's own product is small, and its speed that of a few rows.
        const SLOWER: usize = 4;
        n > o && self.calls * rows * (n - o) > SLOWER * o * n
    }

    /// Whether there are enough calls to lay weights out for them.
    pub(super) fn lays_out(&self) -> bool {
        self.calls >= 4
    }

    /// What is made of weights at the first call.
    pub(super) fn made_of<W, T: Any + Clone, Err>(
        &self,
        weights: &W,
        make: impl FnOnce() -> Result<T, Err>,
    ) -> Result<T, Err> {
        let place = std::ptr::from_ref(weights) as usize;
        let made = self.made.borrow();
        let found = made.iter().filter(|(at, _)| *at == place);
        if let Some(found) = found.filter_map(|(_, made)| made.downcast_ref::<T>()).next() {
            return Ok(found.clone());
        }
        drop(made);
        let value = make()?;
        self.made.borrow_mut().push((place, Box::new(value.clone())));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use dfdx::prelude::*;

    use crate::nn::{ConditionalResNetCt, Encoded, Takes, Timed};

    type Narrow = ConditionalResNetCt<3, 6, 16>;
    type Several = crate::conditional_resnet_ct!(3, 6, [16, 24] => 5);
    /// As wide at the end as in the middle: nothing to gain.
    type Wide = ConditionalResNetCt<3, 6, 16, 16>;

    /// The largest difference that keeping what is made of weights makes, and how much is kept.
    fn composed<M>(rows: usize, calls: usize) -> (f64, usize)
    where
        M: Takes<Timed<3, 6>, f64, Cpu>,
        M::Built: Sized,
        <M::Out as crate::nn::Signal<f64, Cpu>>::Plain: HasNumbers,
    {
        let dev = Cpu::seed_from_u64(1);
        let module = M::build_on_device(&dev);
        let z = dev.sample_normal_like(&(rows, Const::<3>));
        let x = dev.sample_normal_like(&(rows, Const::<6>));
        let input = (z, x, dev.sample_uniform_like(&(rows,)));
        let encoded = Encoded::default().for_calls(calls);
        let plain = M::infer(&module, input.clone()).unwrap().numbers();
        let mut most = 0.0f64;
        for _ in 0..2 {
            let other = M::infer_encoded(&module, input.clone(), &encoded).unwrap().numbers();
            assert_eq!(plain.len(), other.len());
            most = plain.iter().zip(&other).fold(most, |most, (a, b)| most.max((a - b).abs()));
        }
        (most, encoded.made.borrow().len())
    }

    trait HasNumbers {
        fn numbers(&self) -> Vec<f64>;
    }

    impl<const N: usize> HasNumbers for crate::device::Rows<Const<N>, f64, Cpu> {
        fn numbers(&self) -> Vec<f64> {
            self.as_vec()
        }
    }

    #[test]
    fn linear_layers_in_a_row_are_computed_as_one_where_that_pays() {
        // Layers of less than 32 numbers are not laid out.
        for (found, layers) in [
            (composed::<Narrow>(20, 10), 1),
            (composed::<Narrow>(1, 200), 1),
            (composed::<Several>(20, 10), 1),
            (composed::<Narrow>(1, 1), 0),
            (composed::<Wide>(20, 10), 0),
        ] {
            assert_eq!(found.1, layers);
            assert!(found.0 < 1e-12, "{found:?}");
            // Another order of summation is another rounding.
            assert_eq!(found.0 > 0.0, layers > 0, "{found:?}");
        }
    }

    #[test]
    fn weights_are_laid_out_once_for_many_calls() {
        type Broad = ConditionalResNetCt<3, 6, 40>;
        // Of z, of the embedding of t, and the first of the residual; the second is composed with the head.
        let (most, kept) = composed::<Broad>(7, 10);
        assert_eq!(kept, 4);
        assert!(most < 1e-12);
        assert_eq!(composed::<Broad>(7, 1).1, 0);
    }
}
