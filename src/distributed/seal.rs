//! Messages with their number and a checksum.

/// The bytes of both.
const SEAL: usize = 8;

/// A message with its number among those to one rank about one topic, and a checksum (CRC-32) of
/// all that.
pub(super) fn seal(mut message: Vec<u8>, number: u32) -> Vec<u8> {
    // No more than that: a message may be all of the weights.
    message.reserve_exact(SEAL);
    message.extend(number.to_le_bytes());
    message.extend(crc32fast::hash(&message).to_le_bytes());
    message
}

/// What [`seal`] got, if it is message `number` and whole; what it is instead, in words.
pub(super) fn open(mut sealed: Vec<u8>, number: u32) -> Result<Vec<u8>, String> {
    let length = sealed.len();
    let damaged = || format!("{length} bytes that were changed on the way");
    let (rest, sum) = sealed.split_last_chunk().ok_or_else(damaged)?;
    let (_, found) = rest.split_last_chunk().ok_or_else(damaged)?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return Err(damaged());
    }
    let found = u32::from_le_bytes(*found);
    if found != number {
        return Err(format!("message {found}: one was lost, doubled or overtaken"));
    }
    sealed.truncate(length - SEAL);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_that_changes_and_any_other_number_is_noticed() {
        for message in [vec![], vec![7], (0..40).collect()] {
            let sealed = seal(message.clone(), 3);
            assert_eq!(open(sealed.clone(), 3).unwrap(), message);
            assert!(open(sealed.clone(), 4).unwrap_err().starts_with("message 3"));
            for bit in 0..8 * sealed.len() {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(open(changed, 3).unwrap_err().contains("changed"), "{bit}");
            }
            for end in 0..sealed.len() {
                assert!(open(sealed[..end].to_vec(), 3).is_err(), "{end}");
            }
        }
    }
}
