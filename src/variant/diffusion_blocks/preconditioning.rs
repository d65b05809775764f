//! What makes all noise levels look alike to a network.

/// The scales at one noise level, for targets of standard deviation σ_d (Karras et al. 2022,
/// *Elucidating the design space of diffusion-based generative models*, table 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Preconditioning {
    /// c_skip = σ_d² / (σ² + σ_d²), the weight of z in D.
    pub(crate) skip: f64,
    /// c_out = σ σ_d / √(σ² + σ_d²), the weight of the network's output in D.
    pub(crate) out: f64,
    /// c_in = 1 / √(σ² + σ_d²), by which z goes into the network.
    pub(crate) into: f64,
    /// ¼ ln σ, what the network is told of σ.
    pub(crate) time: f64,
}

impl Preconditioning {
    /// The scales at σ.
    pub(crate) fn new(sigma_data: f64, sigma: f64) -> Self {
        let norm = sigma.hypot(sigma_data);
        Self {
            skip: (sigma_data / norm).powi(2),
            out: sigma * (sigma_data / norm),
            into: 1.0 / norm,
            time: Self::time_of(sigma),
        }
    }

    /// ¼ ln σ.
    pub(super) fn time_of(sigma: f64) -> f64 {
        0.25 * sigma.ln()
    }

    /// σ of ¼ ln σ.
    pub(super) fn sigma_of(time: f64) -> f64 {
        (4.0 * time).exp()
    }
}
