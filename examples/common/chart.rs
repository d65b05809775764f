//! How the examples' pictures look.

use std::{error::Error, ops::Range, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Plane<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// An axis: what it is called, its ends, and the decimals of its numbers, as many as they need where
/// that is not given.
pub struct Axis<'s> {
    pub name: &'s str,
    pub ends: Range<f64>,
    pub decimals: Option<usize>,
}

/// A chart with a grid.
pub fn plane<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    x: Axis<'_>,
    y: Axis<'_>,
) -> Result<Plane<'a, 'b>, Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(x.ends, y.ends)?;
    let text = |value: &f64, decimals: Option<usize>| match decimals {
        Some(decimals) => format!("{value:.decimals$}"),
        // What the steps between labels add up to has no more digits than these.
        None => ((value * 1e9).round() / 1e9).to_string(),
    };
    chart
        .configure_mesh()
        .x_desc(x.name)
        .y_desc(y.name)
        .x_label_formatter(&|value| text(value, x.decimals))
        .y_label_formatter(&|value| text(value, y.decimals))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 17))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(230, 230, 230))
        .draw()?;
    Ok(chart)
}

pub fn legend<'a, 'b: 'a>(
    chart: &mut Plane<'a, 'b>,
    position: SeriesLabelPosition,
) -> Result<(), Box<dyn Error>> {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 15))
        .draw()?;
    Ok(())
}

pub fn write(path: &Path, svg: &str) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, svg).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}
