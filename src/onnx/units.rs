//! Between the units of a model and those of the world.

use super::graph::{Graph, Value};
use crate::data::Statistics;

impl Graph {
    /// (x − μ) / σ.
    pub(super) fn standardised(&mut self, x: Value, statistics: &Statistics) -> Value {
        let less = self.columns("inputs.mean", statistics.mean.clone());
        let divisor = self.columns("inputs.deviation", statistics.divisors().collect());
        let centred = self.node("Sub", &[&x.name, &less], "x/centred", Vec::new());
        x.renamed(self.node("Div", &[&centred, &divisor], "x/standardised", Vec::new()))
    }

    /// σ x + μ.
    pub(super) fn in_units(&mut self, values: Value, statistics: &Statistics) -> Value {
        let more = self.columns("targets.mean", statistics.mean.clone());
        let factor = self.columns("targets.deviation", statistics.divisors().collect());
        let scaled = self.node("Mul", &[&values.name, &factor], "values/scaled", Vec::new());
        values.renamed(self.node("Add", &[&scaled, &more], "values/in_units", Vec::new()))
    }

    /// A number for each column.
    fn columns(&mut self, name: &str, numbers: Vec<f64>) -> String {
        let width = numbers.len();
        let numbers = move || numbers.iter().map(|&number| number as f32).collect();
        self.weight(name.to_owned(), &[1, width], numbers)
    }
}
