//! What a step needs in memory, counted by the allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dfdx_noprop::{
    head::SuitsHead,
    nn::{
        Denoises,
        image::{BatchNorm, Conv2d, Flatten, MaxPool2d, Planes},
    },
    prelude::*,
    variant::Variant,
};
use rand::{SeedableRng, rngs::StdRng};

/// The system's allocator, with the bytes that are held, the most that were, and those that were
/// asked for.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);
/// One test at a time, since the allocator counts for all.
static TURN: Mutex<()> = Mutex::new(());

/// Buffers that `gemm` packs a product's operands into are aligned to this many bytes or more, and
/// are given back when the product is done; numbers are not.
const PACKED: usize = 64;

// SAFETY: every call goes to the system's allocator as it came; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        if layout.align() < PACKED {
            ASKED.fetch_add(layout.size(), Relaxed);
        }
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
    let _turn = TURN.lock();
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

const ROWS: usize = 64;
const X: usize = 64;

/// Bytes asked for in each step of a run but the first ones, in which threads start and memory is
/// taken for the first time.
fn asked<V, M>(variant: V, threads: usize) -> usize
where
    V: Variant<10, X, f32, AutoDevice, Head = OneHot>,
    M: Denoises<V::Input>,
    M::Gives: SuitsHead<V::Reader, 10>,
    AutoDevice: Runs<V, M, 10, X>,
{
    let mut model = NoProp::<V, M, 10, X>::new(&AutoDevice::default(), variant).unwrap();
    let x = (0..4 * ROWS * X).map(|i| (i as f32 * 0.37).sin()).collect();
    let labels = (0..4 * ROWS as u32).map(|i| i % 10).collect();
    let data = Dataset::new(x, Labels::<10>::new(labels).unwrap()).unwrap();
    let mut run = |epochs: usize| {
        let before = ASKED.load(Relaxed);
        let fit = Fit { epochs, batch_size: ROWS, threads: Some(threads), ..Fit::default() };
        model.fit(&data, &fit).unwrap();
        ASKED.load(Relaxed) - before
    };
    run(1);
    let few = run(8);
    (run(24) - few) / (4 * 16)
}

type Dt<const H: usize> = ConditionalResNetDt<10, X, H>;
type Ct<const H: usize> = ConditionalResNetCt<10, X, H>;
/// Images of 8 × 8 pixels to H numbers, by C channels.
type Trunk<const C: usize, const N: usize, const H: usize> = (
    Planes<1, 8, 8>,
    (Conv2d<1, C, 8, 8>, BatchNorm<C>, ReLU, MaxPool2d<4, 4>),
    (Conv2d<C, C, 4, 4>, ReLU),
    (Flatten<N>, Dense<N, H>),
);
type ImagesDt<const C: usize, const N: usize, const H: usize> =
    (Condition<Dense<10, H>, Trunk<C, N, H>>, ReLU, Dense<H, 10>);
type ImagesCt<const C: usize, const N: usize, const H: usize> = (
    TimedCondition<Dense<10, H>, Trunk<C, N, H>, (TimeEmbedding<64>, Dense<64, H>)>,
    ReLU,
    Dense<H, 10>,
);

/// Blocks so wide that one activation, gradient or weight would be seen.
#[track_caller]
fn assert_alike(name: &str, narrow: usize, wide: usize, channels: usize) {
    println!("{name}: {narrow} and {wide} bytes a step");
    // What batch norm keeps of each channel comes on top.
    let more = 1024 + 128 * channels;
    assert!(wide <= narrow + more, "{name}: {narrow} bytes a step, and {wide} where it is wider");
}

#[test]
fn a_step_asks_for_no_memory_that_grows_with_the_model() {
    let _turn = TURN.lock();
    let dt = || DiscreteTime { blocks: 3, ..DiscreteTime::default() };
    for threads in [1, 2] {
        let dense = [asked::<_, Dt<64>>(dt(), threads), asked::<_, Dt<512>>(dt(), threads)];
        assert_alike("discrete time", dense[0], dense[1], 0);
        let ct = ContinuousTime::default;
        let dense = [asked::<_, Ct<64>>(ct(), threads), asked::<_, Ct<512>>(ct(), threads)];
        assert_alike("continuous time", dense[0], dense[1], 0);
        let fm = <FlowMatching>::default;
        let dense = [asked::<_, Ct<64>>(fm(), threads), asked::<_, Ct<512>>(fm(), threads)];
        assert_alike("flow matching", dense[0], dense[1], 0);
        let narrow = asked::<_, ImagesDt<8, 128, 32>>(dt(), threads);
        let wide = asked::<_, ImagesDt<32, 512, 128>>(dt(), threads);
        assert_alike("images in discrete time", narrow, wide, 3 * 32);
        let narrow = asked::<_, ImagesCt<8, 128, 32>>(ct(), threads);
        let wide = asked::<_, ImagesCt<32, 512, 128>>(ct(), threads);
        assert_alike("images in continuous time", narrow, wide, 32);
    }
}
