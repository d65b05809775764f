//! What a step needs in memory, counted by the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use dfdx_noprop::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

/// The system's allocator, with the bytes that are held and the most that were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes held during `work`.
fn most<T>(work: impl FnOnce() -> T) -> (T, usize) {
    MOST.store(HELD.load(Relaxed), Relaxed);
    let answer = work();
    (answer, MOST.load(Relaxed))
}

const WIDTH: usize = 4096;
type Wide = ConditionalResNetDt<10, 64, WIDTH>;

/// A model of one wide block.
type Model = NoProp<DiscreteTime, Wide, 10, 64>;

#[test]
fn a_step_without_a_derivative_needs_the_memory_of_inference_and_of_the_optimiser() {
    let dev = AutoDevice::default();
    let before = HELD.load(Relaxed);
    let step = |estimator: Estimator| {
        let variant = DiscreteTime { blocks: 1, estimator, ..DiscreteTime::default() };
        let mut model = Model::new(&dev, variant).unwrap();
        let z: Tensor<(usize, Const<10>), f32, _> = dev.sample_normal_like(&(16, Const));
        let x: Tensor<(usize, Const<64>), f32, _> = dev.sample_normal_like(&(16, Const));
        let rows = x.as_vec().as_chunks().0.to_vec();
        let (_, inference) = most(|| model.predict(&rows).unwrap());
        let inference = inference - before;
        let (_, step) = most(|| {
            let loss =
                |output: Tensor<(usize, Const<10>), f32, _, _>| output.try_square()?.try_mean();
            model.train_step(1, (z, x), loss, &mut StdRng::seed_from_u64(0)).unwrap();
        });
        let step = step - before;
        // AdamW keeps two means of each weight.
        let needed = inference + 2 * 4 * model.parameters();
        println!("{estimator:?}: {inference} in inference, {step} in a step, {needed} needed");
        step as f64 / needed as f64
    };
    let weight_noise = WeightNoise { directions: 1, ..WeightNoise::default() };
    let share = step(weight_noise.into());
    assert!(
        share < 1.1,
        "weight noise: {share} times the memory of inference and of the optimiser"
    );
    // Reverse mode keeps a gradient of each weight beside.
    let share = step(Estimator::Local);
    assert!(share > 1.2, "reverse mode: {share}");
}
