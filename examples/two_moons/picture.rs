//! Samples beside held-out points, and the way from noise to samples.

use std::{error::Error, path::Path};

use plotters::prelude::*;

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
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1100, 500)).into_drawing_area();
        area.fill(&WHITE)?;
        let halves = area.split_evenly((1, 2));

        let mut chart = chart(&halves[0], "Held-out points and samples")?;
        for (name, points, colour) in
            [("held out", held_out, HELD_OUT), ("samples", samples, SAMPLED)]
        {
            let dots = points.iter().take(SHOWN);
            chart
                .draw_series(dots.map(|p| Circle::new(*p, 2, colour.mix(0.7).filled())))?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 12, y), 4, colour.filled()));
        }
        legend(&mut chart)?;

        let mut chart = self::chart(&halves[1], "From noise (t = 0) to samples (t = 1)")?;
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
        legend(&mut chart)?;
        area.present()?;
    }
    std::fs::write(path, svg).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Plane<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn chart<'a, 'b>(area: &'a Area<'b>, title: &str) -> Result<Plane<'a, 'b>, Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(-2.0..3.0, -1.6..2.0)?;
    chart
        .configure_mesh()
        .x_desc("z₁")
        .y_desc("z₂")
        .x_label_formatter(&|x| format!("{x:.1}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 17))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(230, 230, 230))
        .draw()?;
    Ok(chart)
}

fn legend<'a, 'b: 'a>(chart: &mut Plane<'a, 'b>) -> Result<(), Box<dyn Error>> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 15))
        .draw()?;
    Ok(())
}
