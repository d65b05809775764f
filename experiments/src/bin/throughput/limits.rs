//! What the processor can do: matrix products alone, and multiply-adds alone.

use std::time::Instant;

/// A product of `[m, k]` and `[k, n]`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

impl Product {
    pub fn flop(&self) -> f64 {
        2.0 * (self.m * self.k * self.n) as f64
    }
}

/// GFLOP/s of these products, one after the other, on each of some threads at once.
pub fn products(products: &[Product], threads: usize) -> f64 {
    let flop: f64 = products.iter().map(Product::flop).sum();
    let rounds = (2e9 / flop).ceil() as usize;
    on_each(threads, rounds as f64 * flop, || {
        let mut buffers: Vec<_> = products
            .iter()
            .map(|p| (vec![1e-3f32; p.m * p.k], vec![1e-3f32; p.k * p.n], vec![0f32; p.m * p.n]))
            .collect();
        move || {
            for _ in 0..rounds {
                for (p, (a, b, out)) in products.iter().zip(&mut buffers) {
                    product(*p, a, b, out);
                }
            }
        }
    })
}

fn product(Product { m, k, n }: Product, a: &[f32], b: &[f32], out: &mut [f32]) {
    let multiply = gemm_f32::gemm::f32::get_gemm_fn();
    // SAFETY: the buffers were made with these sizes, row-major. The kernels are for results by
    // columns, so this is the transposed product of the transposed matrices.
    unsafe {
        multiply(
            n,
            m,
            k,
            out.as_mut_ptr(),
            n as isize,
            1,
            false,
            b.as_ptr(),
            n as isize,
            1,
            a.as_ptr(),
            k as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// Microseconds that one thread takes to read this many numbers once, in memory as cold as a
/// model's weights are: the median.
pub fn read_once(numbers: usize) -> f64 {
    let weights = vec![1e-3f32; numbers];
    let mut times = [0.0; 31];
    for time in &mut times {
        let start = Instant::now();
        let (lanes, rest) = weights.as_chunks::<128>();
        let mut sums = [0f32; 128];
        for lane in lanes {
            sums.iter_mut().zip(lane).for_each(|(sum, weight)| *sum += weight);
        }
        std::hint::black_box((sums, rest));
        *time = 1e6 * start.elapsed().as_secs_f64();
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// GB/s at which some threads move so many weights and two moments of each, 24 bytes a weight, as an
/// optimiser does: each thread its share of them.
pub fn streamed(weights: usize, threads: usize) -> f64 {
    let each = weights.div_ceil(threads);
    let bytes = (24 * each) as f64;
    let rounds = (4e8 / bytes).ceil() as usize;
    on_each(threads, rounds as f64 * bytes, || {
        let mut numbers: [Vec<f32>; 3] = std::array::from_fn(|_| vec![1e-3; each]);
        move || {
            for _ in 0..rounds {
                let [p, m, v] = &mut numbers;
                for ((p, m), v) in p.iter_mut().zip(m).zip(v) {
                    *m = 0.9 * *m + 1e-4;
                    *v = 0.9 * *v + 1e-5;
                    *p -= 1e-3 * *m * *v;
                }
            }
            std::hint::black_box(&mut numbers);
        }
    })
}

/// What multiply-adds are by.
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    /// The widest instructions in single precision.
    Widest,
    Avx2,
    /// Two products of bfloat16 at a time, where there is an instruction for it.
    Bf16,
}

/// GFLOP/s of multiply-adds on registers, on each of some threads at once.
pub fn multiply_adds(threads: usize, by: By) -> f64 {
    const ROUNDS: usize = 20_000_000;
    let flop = (ROUNDS * LANES * CHAINS * 2) as f64;
    on_each(threads, flop, || {
        move || {
            std::hint::black_box(chains(ROUNDS, by));
        }
    })
}

const LANES: usize = 16;
/// Sums side by side, so that none waits for the last.
const CHAINS: usize = 12;

#[cfg(target_arch = "x86_64")]
fn chains(rounds: usize, by: By) -> f32 {
    use std::{
        arch::x86_64::{
            __m512bh, __m512i, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps,
            _mm512_reduce_add_ps, _mm512_set1_epi32, _mm512_set1_ps,
        },
        mem::transmute,
    };

    #[target_feature(enable = "avx512f")]
    fn wide(rounds: usize) -> f32 {
        let (a, b) = std::hint::black_box((_mm512_set1_ps(0.999_999), _mm512_set1_ps(1e-6)));
        let mut sums = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
    }

    // Two multiply-adds a lane, so half as many rounds.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn halves(rounds: usize) -> f32 {
        // 1 and 2⁻¹² in both halves.
        let (a, b) = std::hint::black_box((0x3F80_3F80, 0x3980_3980));
        let pairs = |pair: i32| {
            // SAFETY: 16 numbers of 32 bits as 32 halves.
            unsafe { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair)) }
        };
        let (a, b) = (pairs(a), pairs(b));
        let mut sums = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..rounds / 2 {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
        sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    fn narrow(rounds: usize) -> f32 {
        let (a, b) = std::hint::black_box((_mm256_set1_ps(0.999_999), _mm256_set1_ps(1e-6)));
        let mut sums = [_mm256_set1_ps(1.0); CHAINS];
        // Half as wide, so twice as many rounds.
        for _ in 0..2 * rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        std::hint::black_box(sums);
        0.0
    }

    if by == By::Bf16 && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the processor was just found to have it.
        unsafe { halves(rounds) }
    } else if by != By::Avx2 && is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor was just found to have it.
        unsafe { wide(rounds) }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: as above.
        unsafe { narrow(rounds) }
    } else {
        sums(rounds)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn chains(rounds: usize, _by: By) -> f32 {
    sums(rounds)
}

/// For other processors, by what the compiler makes of it.
fn sums(rounds: usize) -> f32 {
    let (a, b) = (std::hint::black_box(0.999_999f32), std::hint::black_box(1e-6f32));
    let mut sums = [[1f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = sum.mul_add(a, b);
        }
    }
    sums.as_flattened().iter().sum()
}

/// The median of five timings, as GFLOP/s of all threads together.
fn on_each<W: FnMut() + Send>(threads: usize, flop: f64, work: impl Fn() -> W) -> f64 {
    let mut workers: Vec<W> = (0..threads).map(|_| work()).collect();
    let mut rates = [0.0; 5];
    for rate in &mut rates {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(worker);
            }
        });
        *rate = threads as f64 * flop / start.elapsed().as_secs_f64() / 1e9;
    }
    rates.sort_by(f64::total_cmp);
    rates[2]
}
