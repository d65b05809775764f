//! Whether the operations of a file fit each other: what the types say of a declared model.

use super::StoredOperation as Stored;
use crate::device::Window;

/// More numbers than this come out of no layer: a file that says so is not believed.
const WIDEST: usize = 1 << 24;

/// How wide z and x are, and whether there is a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) z: usize,
    pub(crate) x: usize,
    pub(crate) is_timed: bool,
}

/// What arrives at an operation.
#[derive(Clone, Copy)]
enum Arriving {
    Inputs(Widths),
    Times,
    Width(usize),
}

/// What was expected, and what was found.
type Misfit = [String; 2];

impl Stored {
    /// How many numbers come out of a row of such widths.
    ///
    /// # Errors
    /// What the first layer that does not fit takes, and what arrives there.
    pub(crate) fn check(&self, widths: Widths) -> Result<usize, Misfit> {
        self.out("", Arriving::Inputs(widths))
    }

    fn out(&self, path: &str, arriving: Arriving) -> Result<usize, Misfit> {
        let at =
            |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Self::Sequence(parts) = self {
            let mut arriving = arriving;
            for (i, part) in parts.iter().enumerate() {
                arriving = Arriving::Width(part.out(&at(&i.to_string()), arriving)?);
            }
            return width(path, arriving);
        }
        if let Self::Condition { z, x, t } = self {
            let Arriving::Inputs(widths) = arriving else {
                return misfit(path, "z and x at a condition", "numbers that other layers made");
            };
            let out = z.out(&at("z"), Arriving::Width(widths.z))?;
            equal(&at("x"), x.out(&at("x"), Arriving::Width(widths.x))?, out)?;
            return match t {
                Some(t) if widths.is_timed => {
                    equal(&at("t"), t.out(&at("t"), Arriving::Times)?, out)
                }
                None if !widths.is_timed => Ok(out),
                _ => {
                    misfit(path, "a time where the variant has one", "the other kind of condition")
                }
            };
        }
        if let (Self::TimeEmbedding(width), Arriving::Times) = (self, arriving) {
            let good = *width >= 2 && width.is_multiple_of(2);
            return if good {
                bounded(path, *width)
            } else {
                misfit(path, "an even width", *width)
            };
        }
        let arrives = width(path, arriving)?;
        bounded(path, self.out_of_rows(path, arrives)?)
    }

    /// The same for layers on rows of numbers.
    fn out_of_rows(&self, path: &str, arrives: usize) -> Result<usize, Misfit> {
        let at =
            |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let row = Arriving::Width(arrives);
        match self {
            Self::Repeated(rounds) => {
                rounds.iter().enumerate().try_fold(arrives, |width, (i, round)| {
                    equal(
                        &at(&i.to_string()),
                        round.out(&at(&i.to_string()), Arriving::Width(width))?,
                        width,
                    )
                })
            }
            Self::Residual(branch) => {
                equal(&at("branch"), branch.out(&at("branch"), row)?, arrives)
            }
            Self::Projected { branch, projection } => {
                let out = branch.out(&at("branch"), row)?;
                equal(&at("projection"), projection.out(&at("projection"), row)?, out)
            }
            Self::Dense { inputs, outputs, .. } => {
                equal(path, arrives, *inputs)?;
                Ok(*outputs)
            }
            Self::Dropout(share) if !(0.0..1.0).contains(share) => {
                misfit(path, "a share of at least 0 and below 1 to drop", *share)
            }
            Self::LayerNorm { width, epsilon } | Self::RowNorm { width, epsilon } => {
                positive(path, *epsilon)?;
                equal(path, arrives, *width)
            }
            Self::BatchNorm { channels, epsilon, .. } => {
                positive(path, *epsilon)?;
                divides(path, *channels, arrives)
            }
            Self::Convolution { window, filters } => {
                self.slides(path, window, arrives)?;
                Ok(window.windows().saturating_mul(*filters))
            }
            Self::Pool { window, .. } => {
                self.slides(path, window, arrives)?;
                Ok(window.pooled())
            }
            Self::ChannelsLast(channels) => divides(path, *channels, arrives),
            _ => Ok(arrives),
        }
    }

    /// Whether windows slide over the image that arrives, as many as they say.
    fn slides(&self, path: &str, window: &Window, arrives: usize) -> Result<(), Misfit> {
        let Window { height, width, channels, kernel, stride, padding, .. } = *window;
        let sides = [height, width, channels, kernel, stride, padding];
        let image = height.checked_mul(width).and_then(|image| image.checked_mul(channels));
        let fits = sides.iter().all(|side| *side <= WIDEST)
            && image == Some(arrives)
            && padding < kernel
            && kernel <= height.max(width) + 2 * padding
            && Window::count(height, kernel, stride, padding) == window.out_height
            && Window::count(width, kernel, stride, padding) == window.out_width
            && window.windows() > 0;
        if fits {
            return bounded(path, window.windows().saturating_mul(channels)).map(|_| ());
        }
        misfit(path, format!("windows that slide over {arrives} numbers"), format!("{window:?}"))
    }
}

fn misfit<T>(path: &str, expected: impl ToString, found: impl ToString) -> Result<T, Misfit> {
    let place = if path.is_empty() { "the block" } else { path };
    Err([format!("{} ({place})", expected.to_string()), found.to_string()])
}

fn width(path: &str, arriving: Arriving) -> Result<usize, Misfit> {
    match arriving {
        Arriving::Width(width) => Ok(width),
        Arriving::Times => Ok(1),
        Arriving::Inputs(_) => misfit(path, "a condition on z and x", "another layer"),
    }
}

fn equal(path: &str, found: usize, expected: usize) -> Result<usize, Misfit> {
    if found == expected {
        return Ok(found);
    }
    misfit(path, format!("{expected} numbers a row"), found)
}

fn divides(path: &str, channels: usize, arrives: usize) -> Result<usize, Misfit> {
    if channels > 0 && arrives.is_multiple_of(channels) {
        return Ok(arrives);
    }
    misfit(path, format!("channels that divide {arrives} numbers"), channels)
}

fn positive(path: &str, epsilon: f64) -> Result<(), Misfit> {
    if epsilon.is_finite() && epsilon >= 0.0 {
        return Ok(());
    }
    misfit(path, "an epsilon of at least 0", epsilon)
}

fn bounded(path: &str, width: usize) -> Result<usize, Misfit> {
    if (1..=WIDEST).contains(&width) {
        return Ok(width);
    }
    misfit(path, format!("1 to {WIDEST} numbers a row"), width)
}
