//! Lines over an axis.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::axis::{Axis, Kind};
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
const MESH: RGBColor = RGBColor(225, 225, 225);
const SIZE: (u32, u32) = (800, 500);
/// The height of a row of the legend.
const ROW: i32 = 20;

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
    /// Black and thin: what the others are held against.
    Reference,
}

/// A bar from 0 up to a height.
pub(super) struct Bar {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) height: f64,
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
            Style::Reference => Self { colour: BLACK, width: 1, ..self },
        }
    }
}

/// A picture of some lines, with bars behind them.
pub(super) struct Chart {
    title: String,
    x: String,
    y: String,
    whole_x: bool,
    log: bool,
    log_if_wide: bool,
    shares: bool,
    bars: Vec<Bar>,
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
            shares: false,
            bars: Vec::new(),
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

    /// Both axes from 0 to 1.
    pub(super) fn shares(self) -> Self {
        Self { shares: true, ..self }
    }

    pub(super) fn bars(self, bars: Vec<Bar>) -> Self {
        Self { bars, ..self }
    }

    /// Lines without a point are left out.
    pub(super) fn lines(mut self, lines: Vec<Line>) -> Self {
        self.lines = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        self
    }

    pub(super) fn svg(self) -> Result<String, Error> {
        picture(SIZE, |area| self.draw(area))
    }

    fn axes(&self) -> [Axis; 2] {
        if self.shares {
            return [(); 2].map(|()| Axis::new(Kind::Tight, [0.0, 1.0].into_iter()));
        }
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let values = points().map(|p| p.1);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
        // Beside each other by their logarithms: the quotient may not be finite.
        let wide = low > 0.0 && high.log10() - low.log10() > 2.0;
        let y = if self.log {
            Axis::new(Kind::Log, values.filter(|y| *y > 0.0))
        } else if self.log_if_wide && wide {
            Axis::new(Kind::Log, values)
        } else {
            Axis::new(Kind::Roomy, values)
        };
        let kind = if self.whole_x { Kind::Whole } else { Kind::Tight };
        [Axis::new(kind, points().map(|p| p.0)), y]
    }

    /// Title, legend, and the lines below both, which they cannot touch.
    fn draw(&self, area: &Area<'_>) -> Drawn {
        let (width, height) = area.dim_in_pixel();
        let (width, height) = (width as i32, height as i32);
        let named = || self.lines.iter().filter(|line| !line.name.is_empty());
        let (left, right) = (88, width - 24);
        let (top, bottom) = (56 + ROW * named().count() as i32, height - 60);
        text(area, &self.title, 24, (width / 2, 30), HPos::Center)?;
        for (row, line) in (0..).zip(named()) {
            let (colour, y) = (line.colour.stroke_width(line.width), 56 + ROW * row);
            area.draw(&PathElement::new(vec![(left, y), (left + 24, y)], colour))?;
            text(area, &line.name, 15, (left + 32, y), HPos::Left)?;
        }
        let frame = Frame { left, right, top, bottom };
        let axes = self.axes();
        self.draw_axes(area, &frame, &axes)?;
        self.bars.iter().try_for_each(|bar| draw_bar(area, &frame, &axes, bar))?;
        self.lines.iter().try_for_each(|line| self.draw_line(area, &frame, &axes, line))
    }

    fn draw_axes(&self, area: &Area<'_>, frame: &Frame, [x, y]: &[Axis; 2]) -> Drawn {
        let Frame { left, right, top, bottom } = *frame;
        for tick in &x.ticks {
            let at = frame.x(tick.at);
            area.draw(&PathElement::new(vec![(at, top), (at, bottom)], MESH))?;
            text(area, &tick.label, 15, (at, bottom + 14), HPos::Center)?;
        }
        for tick in &y.ticks {
            let at = frame.y(tick.at);
            area.draw(&PathElement::new(vec![(left, at), (right, at)], MESH))?;
            text(area, &tick.label, 15, (left - 8, at), HPos::Right)?;
        }
        area.draw(&PathElement::new(vec![(left, top), (left, bottom), (right, bottom)], BLACK))?;
        text(area, &self.x, 17, ((left + right) / 2, bottom + 40), HPos::Center)?;
        let style = ("sans-serif", 17).into_font().transform(FontTransform::Rotate270);
        let style = style.color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(self.y.clone(), (16, (top + bottom) / 2), style))?;
        Ok(())
    }

    fn draw_line(&self, area: &Area<'_>, frame: &Frame, [x, y]: &[Axis; 2], line: &Line) -> Drawn {
        let shown = line.points.iter().filter(|p| !self.log || p.1 > 0.0);
        let points: Vec<_> = shown.map(|p| (frame.x(x.at(p.0)), frame.y(y.at(p.1)))).collect();
        if points.len() <= 30 && line.width > 1 {
            for point in &points {
                area.draw(&Circle::new(*point, line.width + 1, line.colour.filled()))?;
            }
        }
        area.draw(&PathElement::new(points, line.colour.stroke_width(line.width)))?;
        Ok(())
    }
}

/// Where lines are drawn, in pixels.
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Frame {
    fn x(&self, at: f64) -> i32 {
        self.left + (at * f64::from(self.right - self.left)).round() as i32
    }

    fn y(&self, at: f64) -> i32 {
        self.bottom - (at * f64::from(self.bottom - self.top)).round() as i32
    }
}

fn draw_bar(area: &Area<'_>, frame: &Frame, [x, y]: &[Axis; 2], bar: &Bar) -> Drawn {
    let corners = [(bar.from, bar.height), (bar.to, 0.0)];
    let corners = corners.map(|(a, b)| (frame.x(x.at(a)), frame.y(y.at(b))));
    area.draw(&Rectangle::new(corners, COLOURS[0].mix(0.4).filled()))?;
    area.draw(&Rectangle::new(corners, COLOURS[0]))?;
    Ok(())
}

fn text(area: &Area<'_>, text: &str, size: u32, at: (i32, i32), side: HPos) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
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
