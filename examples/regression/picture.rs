//! A band of quantiles over points.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use crate::chart::{Axis, legend, plane, write};

/// Colours that the colour-blind can tell apart.
const POINTS: RGBColor = RGBColor(86, 180, 233);
const BAND: RGBColor = RGBColor(213, 94, 0);
/// More points than this make a large file, and no clearer picture.
const SHOWN: usize = 600;

type Point = (f64, f64);

/// Quantiles of y at one x.
pub struct Quantiles {
    pub x: f64,
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// `quantiles` are by rising x.
pub fn draw(path: &Path, points: &[Point], quantiles: &[Quantiles]) -> Result<(), Box<dyn Error>> {
    let shown = &points[..points.len().min(SHOWN)];
    let ends = quantiles.iter().flat_map(|q| [q.low, q.high]);
    let values = || shown.iter().map(|p| p.1).chain(ends.clone()).filter(|y| y.is_finite());
    let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (800, 500)).into_drawing_area();
        area.fill(&WHITE)?;
        let title = "Held-out points, and what the model says of y given x";
        let x = Axis { name: "x", ends: -1.0..1.0, decimals: Some(1) };
        let y = Axis { name: "y", ends: 1.1 * low - 0.1..1.1 * high + 0.1, decimals: Some(1) };
        let mut chart = plane(&area, title, x, y)?;
        let dots = shown.iter().map(|p| Circle::new(*p, 2, POINTS.filled()));
        chart
            .draw_series(dots)?
            .label("held-out points")
            .legend(|(x, y)| Circle::new((x + 12, y), 4, POINTS.filled()));
        let there = quantiles.iter().map(|q| (q.x, q.high));
        let back = quantiles.iter().rev().map(|q| (q.x, q.low));
        let band: Vec<Point> = there.chain(back).collect();
        chart
            .draw_series([Polygon::new(band, BAND.mix(0.25).filled())])?
            .label("from the 5 % to the 95 % quantile")
            .legend(|(x, y)| {
                Rectangle::new([(x, y - 5), (x + 24, y + 5)], BAND.mix(0.25).filled())
            });
        let line = BAND.stroke_width(2);
        chart
            .draw_series(LineSeries::new(quantiles.iter().map(|q| (q.x, q.median)), line))?
            .label("median")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], line));
        legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
        area.present()?;
    }
    write(path, &svg)
}
