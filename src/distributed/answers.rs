//! Answers as messages.

use crate::device::Real;

/// A part of an answer, and where it belongs: the job, the draw, and the point on the way from
/// noise to target.
#[derive(Clone, Debug)]
pub(crate) struct AnswerPart<E> {
    pub(crate) place: [usize; 3],
    /// Row-major.
    pub(crate) values: Vec<E>,
    /// How often a network was called for a row, summed over the rows.
    pub(crate) calls: usize,
}

/// For each part its place, its calls and the number of its values, and then these.
pub(crate) fn parts_to_bytes<E: Real>(parts: &[AnswerPart<E>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for AnswerPart { place, values, calls } in parts {
        let head = place.iter().copied().chain([*calls, values.len()]);
        bytes.extend(head.flat_map(|n| (n as u64).to_le_bytes()));
        bytes.extend(E::to_bytes(values));
    }
    bytes
}

/// What [`parts_to_bytes`] has made of any number of parts.
pub(crate) fn parts_from_bytes<E: Real>(mut bytes: &[u8]) -> Vec<AnswerPart<E>> {
    let mut all = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<40>() {
        let mut head = head.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n) as usize);
        let mut next = || head.next().unwrap_or_default();
        let (place, calls, count) = ([next(), next(), next()], next(), next());
        let Some((values, rest)) = rest.split_at_checked(count.saturating_mul(size_of::<E>()))
        else {
            break;
        };
        all.push(AnswerPart { place, values: E::from_bytes(values), calls });
        bytes = rest;
    }
    all
}
