//! Files that are nearly right, and a reader's memory under watch.

mod changes;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use changes::changed;
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// How long, and from which seed.
#[derive(Parser)]
struct Options {
    /// How many seconds to go on
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed; each file has the next
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many files at most
    #[arg(long, default_value_t = u64::MAX)]
    rounds: u64,
}

/// Counts what is allocated.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads changed files until the time is over; `read` says whether the file was taken.
pub fn fuzz(name: &str, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8]) -> bool) {
    let options = Options::parse();
    let (start, limit) = (Instant::now(), Duration::from_secs(options.seconds));
    let (mut rounds, mut taken, mut most) = (0u64, 0u64, 0.0f64);
    while rounds < options.rounds && start.elapsed() < limit {
        let seed = options.seed.wrapping_add(rounds);
        let file = changed(seeds, &mut ChaCha8Rng::seed_from_u64(seed));
        // Printed by the panic's own message as well, in case the process is killed.
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&file)));
        let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        match answer {
            Ok(ok) => taken += u64::from(ok),
            Err(_) => fail(name, seed, "the reader panicked"),
        }
        if used > 64 * file.len() + (1 << 20) {
            fail(name, seed, &format!("{used} bytes for a file of {}", file.len()));
        }
        most = most.max(used as f64 / file.len().max(1024) as f64);
        rounds += 1;
    }
    println!("{name}: {rounds} files, {taken} of them taken, memory up to {most:.1} × the file");
}

fn fail(name: &str, seed: u64, what: &str) -> ! {
    eprintln!("{name}: {what}; repeat it by --seed {seed} --rounds 1");
    std::process::exit(1);
}

/// A file in memory where the system has such a place.
pub fn scratch() -> std::io::Result<tempfile::NamedTempFile> {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::NamedTempFile::new_in(memory)
    } else {
        tempfile::NamedTempFile::new()
    }
}
