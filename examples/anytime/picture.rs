//! Accuracy and negative log-likelihood over the blocks that a row takes.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use super::Point;
use crate::chart::{Area, Axis, legend, plane, write};

const EARLY: RGBColor = RGBColor(0, 114, 178);
const ALL: RGBColor = RGBColor(213, 94, 0);

pub fn draw(path: &Path, points: &[Point], all: &Point) -> Result<(), Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1100, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let halves = area.split_evenly((1, 2));
        panel(&halves[0], "accuracy, %", points, all, |point| 100.0 * point.accuracy)?;
        let loss = "negative log-likelihood, nats";
        panel(&halves[1], loss, points, all, |point| point.negative_log_likelihood)?;
        area.present()?;
    }
    write(path, &svg)
}

fn panel(
    area: &Area<'_>,
    what: &str,
    points: &[Point],
    all: &Point,
    value: impl Fn(&Point) -> f64,
) -> Result<(), Box<dyn Error>> {
    let values: Vec<f64> = points.iter().chain([all]).map(&value).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = (0.1 * (high - low)).max(1e-6);
    let most = points.iter().map(|point| point.calls_per_row).fold(all.calls_per_row, f64::max);
    let x = Axis { name: "blocks a row", ends: 0.0..1.05 * most, decimals: Some(0) };
    let y = Axis { name: "", ends: low - margin..high + margin, decimals: None };
    let mut chart = plane(area, what, x, y)?;
    let end = [(0.0, value(all)), (1.05 * most, value(all))];
    chart
        .draw_series(LineSeries::new(end, ALL.stroke_width(2)))?
        .label("all blocks")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], ALL.stroke_width(2)));
    let at = |point: &Point| (point.calls_per_row, value(point));
    chart
        .draw_series(LineSeries::new(points.iter().map(at), EARLY.stroke_width(2)))?
        .label("until τ")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], EARLY.stroke_width(2)));
    chart.draw_series(points.iter().map(|point| Circle::new(at(point), 4, EARLY.filled())))?;
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}
