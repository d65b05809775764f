//! Several messages in one.

use crate::error::Error;

/// Each part behind its length.
pub(crate) fn pack(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        packed.extend((part.len() as u64).to_le_bytes());
        packed.extend(part);
    }
    packed
}

/// The `count` parts of what [`pack`] has packed.
pub(crate) fn unpack(packed: &[u8], count: usize, what: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut rest = packed;
    let mut parts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some((part, after)) = after.split_at_checked(u64::from_le_bytes(*length) as usize)
        else {
            break;
        };
        parts.push(part.to_vec());
        rest = after;
    }
    if parts.len() == count && rest.is_empty() {
        return Ok(parts);
    }
    let expected = format!("{count} parts of {what}");
    Err(Error::rank(vec![0], expected, format!("{} and {} bytes", parts.len(), rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_anything_else_is_an_error() {
        let parts = [vec![1, 2, 3], Vec::new(), vec![0; 9]];
        let packed = pack(&parts);
        assert_eq!(unpack(&packed, 3, "a test").unwrap(), parts);
        assert_eq!(unpack(&[], 0, "a test").unwrap(), Vec::<Vec<u8>>::new());
        for end in 0..packed.len() {
            assert!(unpack(&packed[..end], 3, "a test").is_err(), "{end}");
        }
        assert!(unpack(&packed, 2, "a test").is_err());
        assert!(unpack(&[packed, vec![0]].concat(), 3, "a test").is_err());
    }
}
