//! A schedule at one time.

/// A schedule at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SchedulePoint {
    /// t, from 0 (noise) to 1 (target); t/T for block t in discrete time.
    pub t: f64,
    /// SNR(t), the ratio of the target's power to the noise's: 0 or more; infinite where there is
    /// no noise.
    pub snr: f64,
}

impl SchedulePoint {
    /// ᾱ = SNR / (1 + SNR), the target's share of the power: from 0 to 1.
    pub fn alpha_bar(&self) -> f64 {
        if self.snr.is_finite() { self.snr / (1.0 + self.snr) } else { 1.0 }
    }
}
