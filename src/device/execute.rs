//! Independent units of work, side by side where the device allows it.

use std::sync::Mutex;

use dfdx::prelude::Cpu;

use super::Workers;

/// How a device runs units (blocks) that need nothing from each other.
///
/// Results come in the order of the units, and do not depend on the number of threads.
pub trait Execute<U> {
    /// Runs `work` once on each unit.
    fn each<R: Send>(
        units: &mut [U],
        workers: &Workers,
        work: &(dyn Fn(usize, &mut U) -> R + Sync),
    ) -> Vec<R>;

    /// Runs `work` once for each of `jobs` numbers, with all units to read.
    fn map<R: Send>(units: &[U], jobs: usize, work: &(dyn Fn(&[U], usize) -> R + Sync)) -> Vec<R>;
}

impl<U: Send + Sync> Execute<U> for Cpu {
    fn each<R: Send>(
        units: &mut [U],
        workers: &Workers,
        work: &(dyn Fn(usize, &mut U) -> R + Sync),
    ) -> Vec<R> {
        share_out(units.iter_mut(), workers, &|i, unit| work(i, unit))
    }

    fn map<R: Send>(units: &[U], jobs: usize, work: &(dyn Fn(&[U], usize) -> R + Sync)) -> Vec<R> {
        if jobs <= 1 {
            // Another thread would only cost time.
            return (0..jobs).map(|job| work(units, job)).collect();
        }
        share_out(0..jobs, Workers::shared(), &|_, job| work(units, job))
    }
}

/// Each worker takes the next item until none is left; the results are put back in order.
fn share_out<T: Send, R: Send>(
    items: impl ExactSizeIterator<Item = T> + Send,
    workers: &Workers,
    work: &(dyn Fn(usize, T) -> R + Sync),
) -> Vec<R> {
    let count = items.len();
    let queue = Mutex::new(items.enumerate());
    let results = Mutex::new(Vec::with_capacity(count));
    workers.run(count, &|| {
        // The lock is held only while the next item is taken; a poisoned one means that a worker
        // panicked.
        while let Some((i, item)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            let result = work(i, item);
            if let Ok(mut results) = results.lock() {
                results.push((i, result));
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
