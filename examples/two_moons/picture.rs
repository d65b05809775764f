//! Samples beside held-out points, and the way from noise to samples where there is one.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use crate::chart::{Axis, legend, plane, write};

/// Colours that the colour-blind can tell apart.
const HELD_OUT: RGBColor = RGBColor(86, 180, 233);
const SAMPLED: RGBColor = RGBColor(213, 94, 0);
const START: RGBColor = RGBColor(120, 120, 120);
/// More points than this make a large file, and no clearer picture.
const SHOWN: usize = 400;

type Point = (f64, f64);

pub fn draw(
    path: &Path,
    [held_out, samples]: [&[Point]; 2],
    paths: &[Vec<Point>],
) -> Result<(), Box<dyn Error>> {
    let x = || Axis { name: "z₁", ends: -2.0..3.0, decimals: Some(1) };
    let y = || Axis { name: "z₂", ends: -1.6..2.0, decimals: Some(1) };
    let panels = if paths.is_empty() { 1 } else { 2 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (550 * panels, 500)).into_drawing_area();
        area.fill(&WHITE)?;
        let halves = area.split_evenly((1, panels as usize));

        let mut chart = plane(&halves[0], "Held-out points and samples", x(), y())?;
        for (name, points, colour) in
            [("held out", held_out, HELD_OUT), ("samples", samples, SAMPLED)]
        {
            let dots = points.iter().take(SHOWN);
            chart
                .draw_series(dots.map(|p| Circle::new(*p, 2, colour.mix(0.7).filled())))?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 12, y), 4, colour.filled()));
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        if let Some(half) = halves.get(1) {
            let mut chart = plane(half, "From noise (t = 0) to samples (t = 1)", x(), y())?;
            for way in paths {
                let line = START.mix(0.6).stroke_width(1);
                chart.draw_series(LineSeries::new(way.iter().copied(), line))?;
            }
            let ends: [(&str, fn(&[Point]) -> Option<&Point>, RGBColor); 2] =
                [("noise", |way| way.first(), START), ("samples", |way| way.last(), SAMPLED)];
            for (name, end, colour) in ends {
                let dots = paths.iter().filter_map(|way| end(way));
                chart
                    .draw_series(dots.map(|p| Circle::new(*p, 3, colour.filled())))?
                    .label(name)
                    .legend(move |(x, y)| Circle::new((x + 12, y), 4, colour.filled()));
            }
            legend(&mut chart, SeriesLabelPosition::UpperRight)?;
        }
        area.present()?;
    }
    write(path, &svg)
}
