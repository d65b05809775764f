//! Independent units of work, side by side where the device allows it.

use std::{sync::Mutex, thread};

use dfdx::prelude::Cpu;

/// How a device runs units (blocks) that need nothing from each other.
///
/// Results come in the order of the units, and do not depend on the number of threads.
pub trait Execute<U> {
    /// Runs `work` once on each unit, on up to `threads` threads.
    fn each<R: Send>(
        units: &mut [U],
        threads: usize,
        work: &(dyn Fn(usize, &mut U) -> R + Sync),
    ) -> Vec<R>;

    /// Runs `work` once for each of `jobs` numbers, with all units to read, on up to `threads` threads.
    fn map<R: Send>(
        units: &[U],
        jobs: usize,
        threads: usize,
        work: &(dyn Fn(&[U], usize) -> R + Sync),
    ) -> Vec<R>;
}

impl<U: Send + Sync> Execute<U> for Cpu {
    fn each<R: Send>(
        units: &mut [U],
        threads: usize,
        work: &(dyn Fn(usize, &mut U) -> R + Sync),
    ) -> Vec<R> {
        let threads = threads.min(units.len());
        share_out(units.iter_mut(), threads, &|i, unit| work(i, unit))
    }

    fn map<R: Send>(
        units: &[U],
        jobs: usize,
        threads: usize,
        work: &(dyn Fn(&[U], usize) -> R + Sync),
    ) -> Vec<R> {
        share_out(0..jobs, threads.min(jobs), &|_, job| work(units, job))
    }
}

/// Each thread takes the next item until none is left; the results are put back in order.
fn share_out<T: Send, R: Send>(
    items: impl Iterator<Item = T> + Send,
    threads: usize,
    work: &(dyn Fn(usize, T) -> R + Sync),
) -> Vec<R> {
    let queue = Mutex::new(items.enumerate());
    let run = || {
        let mut done = Vec::new();
        // The lock is held only while the next item is taken; a poisoned one means that a worker panicked.
        while let Some((i, item)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            done.push((i, work(i, item)));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.max(1)).map(|_| scope.spawn(|| on_one_thread(run))).collect();
        let mut results = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(done) => results.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Keeps the matrix products inside dfdx on this thread: blocks are what runs in parallel, not their parts.
fn on_one_thread<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    match rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
        Ok(pool) => pool.install(run),
        Err(_) => run(),
    }
}
