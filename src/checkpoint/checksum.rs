//! SHA-256 checksums, as text.

use sha2::{Digest, Sha256};

use crate::{data::DataView, device::Real};

/// That of all rows, inputs and targets.
pub(crate) fn data_checksum<E: Real>(data: &DataView<'_, E>) -> String {
    let mut hash = Sha256::new();
    hash.update((data.width as u64).to_le_bytes());
    for values in [data.inputs, data.targets.values()] {
        hash.update((values.len() as u64).to_le_bytes());
        values.chunks(4096).for_each(|some| hash.update(E::to_bytes(some)));
    }
    data.targets.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
    hexadecimal(hash)
}

/// The end of a checksum.
pub(super) fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
