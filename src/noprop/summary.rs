//! A model as a table.

use super::NoProp;
use crate::{
    device::{Backend, Real},
    error::Error,
    nn::Layer,
    plan::SummaryLine,
    variant::Variant,
};

/// The operations of a block, and what they cost: for `println!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The operations of one block, each before its parts.
    pub lines: Vec<SummaryLine>,
    /// How many such blocks there are.
    pub blocks: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heads = ["operation", "outputs", "parameters", "multiply-adds"];
        writeln!(f, "{:40} {:>10} {:>12} {:>14}", heads[0], heads[1], heads[2], heads[3])?;
        for line in &self.lines {
            let operation = format!("{}{}", "  ".repeat(line.depth), line.operation);
            let SummaryLine { outputs, parameters, multiply_adds, .. } = line;
            writeln!(f, "{operation:40} {outputs:>10} {parameters:>12} {multiply_adds:>14}")?;
        }
        let total = self.lines.first();
        let (parameters, cost) = total.map_or((0, 0), |all| (all.parameters, all.multiply_adds));
        let (parameters, cost) = (parameters * self.blocks, cost * self.blocks);
        let all = format!("{} of them", self.blocks);
        write!(f, "{all:40} {:>10} {parameters:>12} {cost:>14}", "")
    }
}

impl<V, M, const Z: usize, const X: usize, E, D> NoProp<V, M, Z, X, E, D>
where
    V: Variant<Z, X, E, D>,
    M: Layer<D, E>,
    E: Real,
    D: Backend<E>,
{
    /// The operations of a block with their output widths, parameters and multiply-adds a row, and
    /// the sums over all blocks.
    ///
    /// ```
    /// use dfdx_noprop::prelude::*;
    ///
    /// type Model = NoProp<DiscreteTime, ConditionalResNetDt<10, 64>, 10, 64>;
    /// let model = Model::new(&AutoDevice::default(), DiscreteTime::default())?;
    /// println!("{}", model.summary()?);
    /// assert_eq!(model.summary()?.lines[0].parameters * 10, model.parameters());
    /// # Ok::<(), dfdx_noprop::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] for a lack of memory.
    pub fn summary(&self) -> Result<Summary, Error> {
        let lines = match self.blocks.first() {
            Some(block) => self.engine.describe(self.erase.shared(block), [Z, X])?,
            None => Vec::new(),
        };
        Ok(Summary { lines, blocks: self.ranks.layout.blocks })
    }
}
