//! The loss of a block in its part of the noise.

use dfdx::prelude::*;

use super::{Denoiser, Preconditioning};
#[cfg(feature = "inference")]
use crate::variant::ReverseSettings;
use crate::{
    device::{Backend, Column, Matrix, Real, TracedScalar},
    schedule::{LearnedGamma, NoiseParts, SchedulePoint},
    variant::{
        Draw, Ends, Objective, ReverseProcess, Setup, StepLoss, Target, TracedForward, Transition,
        constant, squared_error, terminal, weigh,
    },
};

/// Blocks by noise level with the type of their head gone.
pub struct NoiseBlocks {
    pub(crate) denoiser: Denoiser,
    pub(crate) parts: NoiseParts,
}

impl<E: Real, D: Backend<E>> ReverseProcess<E, D> for NoiseBlocks {
    fn setup(&self) -> &Setup {
        &self.denoiser.setup
    }

    fn transition(&self) -> Transition<'_, E, D> {
        Transition::Denoiser(&self.denoiser)
    }

    #[cfg(feature = "inference")]
    fn settings(&self, learned: Option<&LearnedGamma<E, D>>) -> ReverseSettings {
        self.denoiser.settings(learned)
    }
}

/// The noise levels of a batch, and what follows from each.
struct Levels<'a, E: Real, D: Backend<E>> {
    sigmas: &'a [f64],
    like: &'a Matrix<E, D>,
}

impl<E: Real, D: Backend<E>> Levels<'_, E, D> {
    /// A number for each row, as wide as the latent.
    fn wide(&self, of: impl Fn(f64) -> f64) -> Result<Matrix<E, D>, D::Err> {
        let values = self.sigmas.iter().map(|&sigma| E::of(of(sigma))).collect();
        let column: Column<E, D> =
            self.like.device().try_tensor_from_vec(values, (self.sigmas.len(),))?;
        column.try_broadcast_like::<_, Axis<1>>(self.like.shape())
    }
}

impl<E: Real, D: Backend<E>> Objective<E, D> for NoiseBlocks {
    /// At the edges of the parts, with SNR = 1/σ².
    fn points(&self, _learned: Option<&LearnedGamma<E, D>>) -> Vec<SchedulePoint> {
        let blocks = self.parts.blocks() as f64;
        let at =
            |(t, sigma): (usize, f64)| SchedulePoint { t: t as f64 / blocks, snr: sigma.powi(-2) };
        self.denoiser.edges().enumerate().map(at).collect()
    }

    fn noise_parts(&self) -> &NoiseParts {
        &self.parts
    }

    /// ¼ ln σ for σ of the block's part.
    fn time(&self, t: usize, uniform: f64) -> f64 {
        Preconditioning::time_of(self.parts.sigma(t, uniform))
    }

    /// CE(p̂(y | z)) at σ_min and KL(q(z | y) ‖ N(0, I)) at σ_max, of z / √(1 + σ²), which is z of
    /// discrete time with ᾱ = 1 / (1 + σ²).
    fn terminal(
        &self,
        target: &Target<'_, E, D>,
        noise: Matrix<E, D>,
        gradients: Gradients<E, D>,
    ) -> Result<Option<[TracedScalar<E, D>; 2]>, D::Err> {
        let (edges, device) = (self.parts.edges(), noise.device().clone());
        let ends = Ends {
            alpha_bar: constant(&device, 1.0 / (1.0 + edges[self.parts.blocks()].powi(2)))?,
            snr: constant(&device, edges[0].powi(-2))?,
        };
        terminal(self.denoiser.setup.reading, ends, target, noise, gradients).map(Some)
    }

    /// CE(F(c_in z, x, ¼ ln σ), y) for classes, ‖D − u‖² / c_out² for numbers, with z = u + σ ε.
    fn loss(
        &self,
        _t: usize,
        draw: Draw<'_, E, D>,
        _learned: Option<&LearnedGamma<E, D>>,
        gradients: Gradients<E, D>,
        forward: TracedForward<'_, E, D>,
    ) -> Result<StepLoss<E, D>, D::Err> {
        let Draw { target, noise, times, .. } = draw;
        let times = times.map(|times| times.host).unwrap_or_default();
        let sigmas: Vec<f64> = times.into_iter().map(Preconditioning::sigma_of).collect();
        let (reading, device) = (self.denoiser.setup.reading, noise.device().clone());
        let levels = Levels { sigmas: &sigmas, like: &noise };
        let into = |sigma: f64| self.denoiser.at(sigma).into;
        let (u, tape) = target.traced(reading, gradients)?.split_tape();
        // c_in z = c_in u + c_in σ ε.
        let share = levels.wide(into)?;
        let spread = levels.wide(|sigma| sigma * into(sigma))?.try_mul(noise.clone())?;
        let z = if reading.is_learned() {
            u.clone().put_tape(tape).try_mul(share)?.try_add(spread)?
        } else {
            // Nothing leads back to u, so the sum need not be recorded.
            u.clone().try_mul(share)?.try_add(spread)?.put_tape(tape)
        };
        if reading.has_classes() {
            let logits = forward(z)?;
            let output = logits.retaped::<NoneTape>();
            let nothing: Column<E, D> = device.try_zeros_like(&(sigmas.len(),))?;
            let nothing = nothing.put_tape(OwnedTape::default());
            return weigh(nothing, logits, &target, 1.0, output);
        }
        // (D − u) / c_out = F − F* with F* = (u − c_skip z) / c_out = (σ/σ_d u − σ_d ε) c_in, in
        // which nothing large is taken from its like.
        let sigma_data = self.denoiser.sigma_data();
        let of_u = levels.wide(|sigma| sigma / sigma_data * into(sigma))?.try_mul(u)?;
        let of_noise = levels.wide(|sigma| -sigma_data * into(sigma))?.try_mul(noise.clone())?;
        let wanted = of_u.try_add(of_noise)?;
        let (output, tape) = forward(z)?.split_tape();
        let one = constant(&device, 1.0)?.try_broadcast_like(&(sigmas.len(),))?;
        let weight = target.weigh_rows(one)?;
        let error = squared_error(output.clone().put_tape(tape), wanted, weight)?;
        let logits = output.clone().put_tape(OwnedTape::default());
        weigh(error, logits, &target, 0.0, output)
    }
}
