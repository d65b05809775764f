//! Pictures of each digit in a row, real ones beside what was drawn.

use std::{error::Error, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::pixels::{ByClass, Picture};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// How many pictures of each digit there are.
const COLUMNS: usize = 6;
/// The side of a pixel, and of a picture with what is left free beside it.
const PIXEL: usize = 4;
const SIDE: usize = 9 * PIXEL;
/// More greys make a larger file, and no clearer picture.
const GREYS: f32 = 5.0;
const MARGIN: usize = 16;
const TITLE: usize = 34;

pub fn draw(path: &Path, panels: &[(&str, &ByClass)]) -> Result<(), Box<dyn Error>> {
    let width = COLUMNS * SIDE + 2 * MARGIN;
    let size = (width * panels.len(), TITLE + 10 * SIDE + MARGIN);
    let mut svg = String::new();
    {
        let size = (size.0 as u32, size.1 as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        for ((title, pictures), own) in panels.iter().zip(area.split_evenly((1, panels.len()))) {
            let title = Text::new(title.to_string(), (MARGIN as i32, 8), ("sans-serif", 20));
            own.draw(&title)?;
            for (row, of_class) in pictures.iter().enumerate() {
                for (column, picture) in of_class.iter().take(COLUMNS).enumerate() {
                    ink(&own, picture, [MARGIN + column * SIDE, TITLE + row * SIDE])?;
                }
            }
        }
        area.present()?;
    }
    std::fs::write(path, svg).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(())
}

/// A picture, dark where it has ink; neighbours in a row with the same grey are one rectangle.
fn ink(area: &Area<'_>, picture: &Picture, [left, top]: [usize; 2]) -> Result<(), Box<dyn Error>> {
    let grey = |pixel: f32| 255 - (255.0 * (GREYS * pixel / 16.0).round() / GREYS) as u8;
    let greys = picture.map(grey);
    for (y, line) in greys.as_chunks::<8>().0.iter().enumerate() {
        let mut x = 0;
        for same in line.chunk_by(|a, b| a == b) {
            let from = ((left + x * PIXEL) as i32, (top + y * PIXEL) as i32);
            x += same.len();
            let to = ((left + x * PIXEL) as i32, (top + (y + 1) * PIXEL) as i32);
            let colour = RGBColor(same[0], same[0], same[0]);
            if colour != WHITE {
                area.draw(&Rectangle::new([from, to], colour.filled()))?;
            }
        }
    }
    Ok(())
}
