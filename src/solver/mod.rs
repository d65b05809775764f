//! Solvers for dz/dt = f(t, z), and for dz = f(t, z) dt + g(t) dW.
//!
//! A [`Solver`] is three choices, each replaceable: a [`Method`] (a table of numbers, [`Tableau`]),
//! the [`Steps`] it takes, fixed or adaptive, and what to [`Save`]. It steps any [`State`]: an
//! array, a `Vec<f64>`, or a dfdx tensor, a whole batch at a time. The drift is any closure.
//!
//! ```
//! use dfdx_noprop::solver::{Method, Save, Solver, Steps};
//!
//! # fn main() -> Result<(), dfdx_noprop::Error> {
//! let solver = Solver {
//!     method: Method::Tsitouras,
//!     steps: Steps::adaptive(1e-6, 1e-9),
//!     save: Save::End,
//! };
//! let decay = solver.integrate(|_, z: &[f64; 1]| Ok([-z[0]]), [1.0], 0.0, 1.0)?;
//! assert!(decay.status.is_done());
//! assert!((decay.states[0][0] - (-1.0_f64).exp()).abs() < 1e-5);
//! # Ok(())
//! # }
//! ```
//!
//! What an integration returns says how it ended ([`Status`]); an [`Error`] is for
//! settings that cannot work and for what the drift itself could not do.

mod control;
mod integrate;
mod save;
mod sde;
mod solution;
mod state;
mod step;
mod tableau;

pub use control::Steps;
pub use integrate::Solver;
pub use save::Save;
pub use sde::EulerMaruyama;
pub use solution::{Solution, Status};
pub use state::State;
pub use tableau::{Method, Tableau};

use crate::Error;

/// Both ends finite, and the length between them too.
fn check_interval(operation: &'static str, t0: f64, t1: f64) -> Result<(), Error> {
    if (t1 - t0).is_finite() {
        return Ok(());
    }
    Err(Error::argument(
        operation,
        "finite times t0 and t1, a finite time apart",
        format!("{t0} and {t1}"),
    ))
}
