//! Changes to files that are right. The tests of `checks/` have them too.

use rand::{Rng, seq::SliceRandom};

/// One of the files with one to four changes.
pub fn changed(seeds: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut file = seeds.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.gen_range(1..=4) {
        change(&mut file, seeds, rng);
    }
    file
}

fn change(file: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut impl Rng) {
    if file.is_empty() {
        file.extend(rng.r#gen::<[u8; 8]>());
        return;
    }
    // Headers decide most, and stand at the start.
    let reach = if rng.gen_bool(0.5) { file.len().min(64) } else { file.len() };
    let at = rng.gen_range(0..reach);
    let length = rng.gen_range(1..=file.len().min(32));
    let end = (at + length).min(file.len());
    match rng.gen_range(0..9) {
        0 => file[at] ^= 1 << rng.gen_range(0..8),
        1 => file[at] = rng.r#gen(),
        2 => drop(file.drain(at..end)),
        3 => file.truncate(at),
        4 => {
            let piece: Vec<u8> = (0..length).map(|_| rng.r#gen()).collect();
            file.splice(at..at, piece);
        }
        5 => {
            let piece = file[at..end].to_vec();
            file.splice(at..at, piece);
        }
        6 => {
            // A number that is small, large, or at an edge.
            let numbers = [0u64, 1, 255, 1 << 31, u32::MAX.into(), 1 << 60, u64::MAX];
            let number = *numbers.choose(rng).unwrap_or(&0);
            let bytes = if rng.r#gen() { number.to_le_bytes() } else { number.to_be_bytes() };
            let width = *[1, 2, 4, 8].choose(rng).unwrap_or(&1);
            for (to, from) in file[at..].iter_mut().zip(&bytes[8 - width..]) {
                *to = *from;
            }
        }
        7 => {
            let texts =
                ["-1", "nan", "1e999", "99999999999999999999", "\"", ",", "\n", "[", "{", "\0"];
            let text = texts.choose(rng).unwrap_or(&"").bytes();
            file.splice(at..end.min(at + 1), text);
        }
        _ => {
            let other = seeds.choose(rng).cloned().unwrap_or_default();
            let from = rng.gen_range(0..=other.len());
            file.truncate(at);
            file.extend_from_slice(&other[from..]);
        }
    }
}
