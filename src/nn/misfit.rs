//! What does not fit, in words that are put together while the program is compiled.

/// What of a model's sizes does not fit; without words where all do.
#[derive(Clone, Copy)]
pub struct Misfit {
    bytes: [u8; 192],
    length: usize,
}

impl Misfit {
    /// All sizes fit.
    pub const NONE: Self = Self { bytes: [0; 192], length: 0 };

    /// This one, or the next where there is none.
    pub const fn or(self, next: Self) -> Self {
        if self.length > 0 { self } else { next }
    }

    /// Ends the build where something does not fit.
    #[track_caller]
    pub const fn check(self) {
        if self.length > 0 {
            panic!("{}", self.as_str());
        }
    }

    /// Dropout of one number in `one_in`.
    pub(super) const fn of_dropout(one_in: usize) -> Self {
        if one_in > 0 {
            return Self::NONE;
        }
        Self::NONE.push("DropoutOneIn<0> drops one number in 0: take DropoutOneIn<1> or more")
    }

    pub(super) const fn push(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() && self.length < self.bytes.len() {
            self.bytes[self.length] = bytes[i];
            self.length += 1;
            i += 1;
        }
        self
    }

    pub(super) const fn number(mut self, number: usize) -> Self {
        if number >= 10 {
            self = self.number(number / 10);
        }
        if self.length < self.bytes.len() {
            self.bytes[self.length] = b'0' + (number % 10) as u8;
            self.length += 1;
        }
        self
    }

    pub(super) const fn size(self, height: usize, width: usize) -> Self {
        self.number(height).push(" x ").number(width)
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "sizes do not agree",
        }
    }
}
