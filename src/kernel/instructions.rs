//! By which of the processor's instructions loops and products are computed.

use std::sync::OnceLock;

use pulp::Arch;

static ARCH: OnceLock<Arch> = OnceLock::new();

/// The widest instructions that the processor has, or that were asked for before the first use.
#[inline]
pub(crate) fn arch() -> Arch {
    *ARCH.get_or_init(Arch::new)
}

/// No wider ones than AVX2 from now on; whether that is so. It can't be where the processor has no
/// AVX2, or wider ones were used before.
pub(crate) fn limit_to_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return matches!(ARCH.get_or_init(|| Arch::V3(simd)), Arch::V3(_));
    }
    false
}

/// Which they are, in words: sums are in another order by others.
pub(crate) fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match arch() {
        Arch::V4(_) => return "x86-64 with AVX-512",
        Arch::V3(_) => return "x86-64 with AVX2",
        _ => {}
    }
    std::env::consts::ARCH
}
