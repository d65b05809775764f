//! The threads of a run.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{error::Error, kernel};

/// Threads that live as long as a run, in a pool for each unit that is worked on at a time.
///
/// Where there are units (blocks) enough, a pool is one thread, and what happens inside a unit
/// happens on it. Where there are more threads than units, a unit has several, which share its
/// large operations.
#[derive(Debug, Default)]
pub struct Workers {
    pools: Vec<ThreadPool>,
    /// Whether it is the pool around us, which is no other's to have.
    around: bool,
}

impl Workers {
    /// `threads` threads for `units` units, but no more than a few for each core: the others would
    /// only take turns with them.
    ///
    /// # Errors
    /// [`Error::Device`] if the operating system gives no more threads.
    pub fn new(threads: usize, units: usize) -> Result<Self, Error> {
        /// How many threads a core may have, at most.
        const EACH: usize = 8;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(EACH * cores);
        let at_once = threads.min(units);
        let pool = |i: usize| {
            let more = usize::from(i < threads % at_once);
            ThreadPoolBuilder::new().num_threads(threads / at_once + more).build()
        };
        let pools = (0..at_once).map(pool).collect::<Result<_, _>>();
        Ok(Self { pools: pools.map_err(Error::device("starting threads"))?, around: false })
    }

    /// The threads of inference: one for each core, shared by all models; none if there are none to
    /// be had.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Workers> = LazyLock::new(|| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            Workers::new(threads, threads).unwrap_or_default()
        });
        &SHARED
    }

    /// The threads of the pool around us, each for a unit; where there are more of them than units,
    /// a unit has several.
    pub(crate) fn around() -> Self {
        Self { pools: Vec::new(), around: true }
    }

    /// How many units are worked on at a time.
    pub(crate) fn at_once(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Runs `work` once in each of the first `most` pools, at the same time, and waits for all.
    pub(super) fn run(&self, most: usize, work: &(dyn Fn() + Sync)) {
        if self.around && rayon::current_thread_index().is_some() {
            return in_pool(most, work);
        }
        match self.pools.get(..most.min(self.pools.len())) {
            Some(pools) if !pools.is_empty() => in_all(pools, work),
            _ => work(),
        }
    }
}

/// Runs `work` up to `most` times on the threads of the pool around us.
fn in_pool(most: usize, work: &(dyn Fn() + Sync)) {
    let threads = rayon::current_num_threads();
    let each = threads / most.max(1);
    rayon::scope(|scope| {
        for _ in 1..most.min(threads) {
            scope.spawn(|_| kernel::on_threads(each, work));
        }
        kernel::on_threads(each, work);
    });
}

fn in_all(pools: &[ThreadPool], work: &(dyn Fn() + Sync)) {
    let Some((pool, rest)) = pools.split_first() else { return };
    let done = AtomicBool::new(false);
    pool.in_place_scope(|scope| {
        if pool.current_num_threads() == 1 {
            scope.spawn(|_| work());
        } else {
            let done = &done;
            scope.spawn_broadcast(move |_, thread| match thread.index() {
                0 => {
                    let _done = OnDrop(done);
                    work();
                }
                _ => help(done),
            });
        }
        in_all(rest, work);
    });
}

/// Sets the flag also where the work panics.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Takes on what the pool's first thread shares, until it is done. Where it shares nothing for a
/// while, as between two batches, this thread gives its core away and looks again from time to time:
/// it does not leave, since to be woken for each small operation costs more than the operation.
fn help(done: &AtomicBool) {
    const PATIENCE: Duration = Duration::from_millis(1);
    const LONGEST_NAP: Duration = Duration::from_millis(1);
    let mut last = Instant::now();
    while !done.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            last = Instant::now();
            continue;
        }
        let idle = last.elapsed();
        if idle < PATIENCE {
            std::thread::yield_now();
        } else {
            std::thread::sleep((idle / 16).min(LONGEST_NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn threads_are_shared_out_among_the_units() {
        for (threads, units, expected) in [
            (1, 5, vec![1]),
            (2, 5, vec![1, 1]),
            (8, 3, vec![3, 3, 2]),
            (4, 1, vec![4]),
            (0, 3, vec![]),
        ] {
            let workers = Workers::new(threads, units).unwrap();
            let sizes: Vec<_> = workers.pools.iter().map(ThreadPool::current_num_threads).collect();
            assert_eq!(sizes, expected);
            let seen = Mutex::new(Vec::new());
            workers.run(units, &|| seen.lock().unwrap().push(rayon::current_num_threads()));
            assert_eq!(seen.lock().unwrap().len(), expected.len().max(1));
        }
    }

    #[test]
    fn nobody_gets_more_threads_than_the_cores_can_use() {
        let workers = Workers::new(20_000, 3).unwrap();
        let all: usize = workers.pools.iter().map(ThreadPool::current_num_threads).sum();
        assert!(all <= 8 * std::thread::available_parallelism().unwrap().get(), "{all}");
    }

    #[test]
    fn helpers_take_on_what_is_shared() {
        let workers = Workers::new(3, 1).unwrap();
        let seen = Mutex::new(Vec::new());
        workers.run(1, &|| {
            // Three that wait for each other need three threads.
            let barrier = std::sync::Barrier::new(3);
            let each = || {
                barrier.wait();
                seen.lock().unwrap().push(rayon::current_thread_index());
            };
            rayon::join(each, || rayon::join(each, each));
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_panic_comes_through_and_ends_the_helpers() {
        let workers = Workers::new(2, 1).unwrap();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            workers.run(1, &|| panic!("on purpose"));
        }));
        assert!(panic.is_err());
        let ran = AtomicBool::new(false);
        workers.run(1, &|| ran.store(true, Ordering::Release));
        assert!(ran.into_inner());
    }
}
