//! What a rank says to the others when it stops.

/// A message that nobody waits for.
pub(super) enum Alarm {
    /// The sender has failed, and says why.
    Failed(String),
    /// The sender has waited for this in vain, or has heard of one who has, and is there.
    Waits(String),
}

impl Alarm {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Failed(text) => (0, text),
            Self::Waits(text) => (1, text),
        };
        [&[kind], text.as_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let (kind, text) = bytes.split_first().unwrap_or((&0, &[]));
        let text = String::from_utf8_lossy(text).into_owned();
        if *kind == 1 { Self::Waits(text) } else { Self::Failed(text) }
    }
}
