//! What `evaluate` answers.

/// Predicted classes against the true ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// How many rows were looked at.
    pub rows: usize,
    /// How many of them were right.
    pub correct: usize,
    /// correct / rows: from 0 to 1.
    pub accuracy: f64,
    /// −mean ln p(y), in nats: 0 is perfect, ln C is chance.
    pub negative_log_likelihood: f64,
    /// How often a network was called for a row: T in discrete time, the solver's calls elsewhere.
    pub network_calls: f64,
}

/// Predicted numbers against the true ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    /// How many rows were looked at.
    pub rows: usize,
    /// mean ‖û − u‖² / Z: the mean over rows and columns, in the squared unit of the targets.
    pub mean_squared_error: f64,
    /// 1 − Σ (û − u)² / Σ (u − ū)², with ū the mean of each column: 1 is perfect, 0 is as good as the
    /// mean, NaN says that the targets are all the same.
    pub r_squared: f64,
    /// How often a network was called for a row: T in discrete time, the solver's calls elsewhere.
    pub network_calls: f64,
}
