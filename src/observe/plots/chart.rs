//! Lines over an axis.

use std::ops::Range;

use plotters::{
    coord::{
        Shift,
        ranged1d::{Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
};

use crate::error::Error;

/// Colours that the colour-blind can tell apart (Okabe, Ito 2008, *Color universal design*).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const GREY: RGBColor = RGBColor(170, 170, 170);
const SIZE: (u32, u32) = (800, 500);

/// A line, with a name in the legend unless that is empty.
pub(super) struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    width: u32,
}

pub(super) enum Style {
    /// Grey and thin.
    Faint,
    Thick,
}

impl Line {
    /// Points that are not finite are left out.
    pub(super) fn new(name: impl Into<String>, points: Vec<(f64, f64)>, colour: usize) -> Self {
        let points = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        Self { name: name.into(), points, colour: COLOURS[colour % COLOURS.len()], width: 2 }
    }

    pub(super) fn style(self, style: Style) -> Self {
        match style {
            Style::Faint => Self { colour: GREY, width: 1, ..self },
            Style::Thick => Self { width: 4, ..self },
        }
    }
}

/// A picture of some lines.
pub(super) struct Chart {
    title: String,
    x: String,
    y: String,
    whole_x: bool,
    log: bool,
    log_if_wide: bool,
    lines: Vec<Line>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Chart {
    pub(super) fn new(
        title: impl Into<String>,
        x: impl Into<String>,
        y: impl Into<String>,
    ) -> Self {
        Self {
            title: title.into(),
            x: x.into(),
            y: y.into(),
            whole_x: false,
            log: false,
            log_if_wide: false,
            lines: Vec::new(),
        }
    }

    /// Whole numbers on the x axis.
    pub(super) fn whole_x(self) -> Self {
        Self { whole_x: true, ..self }
    }

    /// A logarithmic y axis; values of 0 or less are left out.
    pub(super) fn log(self) -> Self {
        Self { log: true, ..self }
    }

    /// A logarithmic y axis if the values span more than two decades.
    pub(super) fn log_if_wide(self) -> Self {
        Self { log_if_wide: true, ..self }
    }

    /// Lines without a point are left out.
    pub(super) fn lines(mut self, lines: Vec<Line>) -> Self {
        self.lines = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        self
    }

    pub(super) fn svg(self) -> Result<String, Error> {
        picture(SIZE, |area| self.draw(area))
    }

    fn values(&self, of: impl Fn(&(f64, f64)) -> f64) -> Option<Range<f64>> {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(&of);
        let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        Some(low..high)
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let x = self.values(|p| p.0).unwrap_or(0.0..1.0);
        let y = self.values(|p| p.1).unwrap_or(0.0..1.0);
        let x = if x.start < x.end { x } else { x.start - 0.5..x.end + 0.5 };
        let wide = y.start > 0.0 && y.end / y.start > 100.0;
        let mut builder = ChartBuilder::on(area);
        builder
            .caption(&self.title, ("sans-serif", 24))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(72);
        if self.log || (self.log_if_wide && wide) {
            let low = y.start.max(f64::MIN_POSITIVE);
            let high = y.end.max(low * 1.01);
            let span = (low / 1.2..high * 1.2).log_scale();
            return self.fill(builder.build_cartesian_2d(x, span)?, |y| power(*y));
        }
        let margin = (0.05 * (y.end - y.start)).max(1e-3 * y.end.abs()).max(1e-9);
        // A line of one or two points may lie anywhere: the legend gets room of its own.
        let few = self.lines.iter().all(|line| line.points.len() <= 2);
        let top = if few { 8.0 * margin } else { margin };
        let span = y.start - margin..y.end + top;
        let digits = (1.5 - (span.end - span.start).log10()).ceil().clamp(0.0, 9.0) as usize;
        self.fill(builder.build_cartesian_2d(x, span)?, |y| format!("{y:.digits$}"))
    }

    fn fill<'a, 'b: 'a, Y>(
        &self,
        mut chart: ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, Y>>,
        label: impl Fn(&f64) -> String,
    ) -> Drawn
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let x = |x: &f64| match self.whole_x {
            true if x.fract() == 0.0 => format!("{x:.0}"),
            true => String::new(),
            false => format!("{x:.1}"),
        };
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&x)
            .y_label_formatter(&label)
            .label_style(("sans-serif", 15))
            .axis_desc_style(("sans-serif", 17))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .draw()?;
        for line in &self.lines {
            let (colour, width) = (line.colour, line.width);
            let style = colour.stroke_width(width);
            let positive = |p: &&(f64, f64)| !self.log || p.1 > 0.0;
            let points: Vec<_> = line.points.iter().filter(positive).copied().collect();
            let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            if !line.name.is_empty() {
                drawn.label(&line.name).legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(width))
                });
            }
            if points.len() <= 30 && width > 1 {
                let dots = points.iter().map(|p| Circle::new(*p, width + 1, colour.filled()));
                chart.draw_series(dots)?;
            }
        }
        if self.lines.iter().any(|line| !line.name.is_empty()) {
            chart
                .configure_series_labels()
                .position(self.legend())
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(200, 200, 200))
                .label_font(("sans-serif", 15))
                .draw()?;
        }
        Ok(())
    }

    /// In the corner that the lines leave free: losses fall, accuracies rise.
    fn legend(&self) -> SeriesLabelPosition {
        let end = |line: &Line| Some(line.points.last()?.1 - line.points.first()?.1);
        let rise: f64 = self.lines.iter().filter_map(end).sum();
        if rise > 0.0 { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight }
    }
}

/// 0.001, 1, 10 and 1e5.
fn power(value: f64) -> String {
    if (1e-3..1e4).contains(&value) { format!("{value}") } else { format!("{value:e}") }
}

/// Two pictures beside each other.
pub(super) fn side_by_side(charts: [Chart; 2]) -> Result<String, Error> {
    picture((2 * SIZE.0 * 3 / 4, SIZE.1), |area| {
        let halves = area.split_evenly((1, 2));
        charts.iter().zip(&halves).try_for_each(|(chart, half)| chart.draw(half))
    })
}

fn picture(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, Error> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let filled = area.fill(&WHITE).map_err(Into::into);
        filled.and_then(|()| draw(&area)).and_then(|()| area.present().map_err(Into::into))
    };
    drawn.map_err(|e| Error::argument("plots", "points that can be drawn", e))?;
    Ok(svg)
}
