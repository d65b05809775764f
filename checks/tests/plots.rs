//! Pictures of whatever comes: each is done in no time, can be read, and marks its axes.
#![cfg(feature = "observe")]

use std::{sync::mpsc, time::Duration};

use dfdx_noprop::{
    head::Errors,
    observe::plots,
    prelude::*,
    score::Reliability,
    train::{AlongPoint, EpochReport, SchedulePoint},
};

fn epoch(epoch: u64, value: f64, other: f64) -> EpochReport {
    EpochReport {
        epoch,
        epochs: 3,
        rows: 1,
        steps: 1,
        seconds: 1.0,
        loss: value,
        minimised: value,
        cross_entropy: Some(other),
        blocks: Vec::new(),
        validation: None,
    }
}

fn along(t: f64, value: f64) -> AlongPoint {
    let errors = Errors {
        rows: 3,
        mean_squared_error: value,
        r_squared: 1.0,
        distribution: None,
        network_calls: 1.0,
    };
    AlongPoint { t, calls: 1.0, evaluation: errors.into() }
}

/// What a picture has: its texts, and the points of its lines.
struct Seen {
    texts: Vec<(f64, String)>,
    lines: Vec<Vec<(f64, f64)>>,
}

fn see(svg: &str) -> Seen {
    let document = roxmltree::Document::parse(svg).unwrap();
    let named = |name: &'static str| document.descendants().filter(move |n| n.has_tag_name(name));
    let texts = named("text").map(|n| {
        let y = n.attribute("y").unwrap().parse().unwrap();
        (y, n.text().unwrap_or_default().trim().to_owned())
    });
    let point = |pair: &str| -> (f64, f64) {
        let (x, y) = pair.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let colours = ["#0072B2", "#D55E00", "#009E73"];
    let lines = named("polyline").filter(|n| colours.contains(&n.attribute("stroke").unwrap()));
    let lines = lines
        .map(|n| n.attribute("points").unwrap().split_whitespace().map(point).collect::<Vec<_>>());
    Seen { texts: texts.collect(), lines: lines.filter(|line| !line.is_empty()).collect() }
}

const LARGE: f64 = f64::MAX;
const TINY: f64 = f64::MIN_POSITIVE;
const LEAST: f64 = 5e-324;

/// Pairs of values to draw lines between.
fn hostile() -> Vec<[f64; 2]> {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-155,
        1e155,
        TINY,
        LEAST,
        LARGE,
        -LARGE,
        1e300,
        1e-300,
        -1e-300,
        1.0 + f64::EPSILON,
        1e16,
        0.1,
        9.999_999e3,
        f64::NAN,
        f64::INFINITY,
        -f64::INFINITY,
    ];
    values.iter().flat_map(|a| values.map(|b| [*a, b])).collect()
}

fn pictures([a, b]: [f64; 2]) -> Vec<Result<String, Error>> {
    let snr = |t, snr| SchedulePoint { t, snr };
    vec![
        plots::loss(&[epoch(1, a, b), epoch(2, b, a)]),
        plots::loss(&[epoch(1, a, a), epoch(u64::MAX, b, b)]),
        plots::loss(&[epoch(u64::MAX - 1, a, b), epoch(u64::MAX, b, b)]),
        plots::loss(&[epoch(7, a, b)]),
        plots::accuracy(&[epoch(1, a, b)]),
        plots::along(&[along(0.0, a), along(1.0, b)]),
        plots::along(&[along(a, 1.0), along(b, 2.0)]),
        plots::along(&[along(a, b)]),
        plots::schedule(&[snr(0.0, a), snr(1.0, b)]),
        plots::schedule(&[snr(a, b), snr(b, a)]),
    ]
}

#[test]
fn any_two_values_can_be_drawn() {
    let (done, waiting) = mpsc::channel();
    // In a thread of its own: a picture that is never done fails the test, too.
    std::thread::spawn(move || {
        for pair in hostile() {
            done.send(pair).unwrap();
            for svg in pictures(pair) {
                let seen = see(&svg.unwrap());
                assert!(seen.texts.len() < 80, "{pair:?}: {} texts", seen.texts.len());
                for (x, y) in seen.lines.iter().flatten() {
                    let inside = (0.0..=1200.0).contains(x) && (0.0..=500.0).contains(y);
                    assert!(inside, "{pair:?}: {x}, {y}");
                }
            }
        }
    });
    let count = hostile().len();
    let mut last = [f64::NAN; 2];
    for _ in 0..count {
        last = waiting
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|e| panic!("{e} after {last:?}"));
    }
    // The last pair itself, and that the thread has not failed in it.
    let end = waiting.recv_timeout(Duration::from_secs(20));
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "after {last:?}");
    assert!(last[0].is_infinite() && last[1].is_infinite());
}

/// The numbers that an axis of the y values marks, with their pixels.
fn marks(seen: &Seen, x_below: impl Fn(&str) -> bool) -> Vec<(f64, f64)> {
    let number = |(y, text): &(f64, String)| Some((*y, text.parse::<f64>().ok()?));
    seen.texts.iter().filter(|(_, text)| x_below(text)).filter_map(number).collect()
}

#[test]
fn marks_lie_where_their_numbers_do() {
    // From 3 to 9: the line begins and ends where the marks say.
    let seen = see(&plots::along(&[along(0.0, 3.0), along(1.0, 9.0)]).unwrap());
    let marks_of = |seen: &Seen| -> Vec<(f64, f64)> {
        // Those of the x axis are all on one line, at the bottom.
        let bottom = seen.texts.iter().map(|t| t.0).filter(|y| *y < 470.0).fold(0.0, f64::max);
        marks(seen, |_| true).into_iter().filter(|(y, _)| *y < bottom - 5.0).collect()
    };
    let all = marks_of(&seen);
    assert!((3..=9).contains(&all.len()), "{all:?}");
    let (first, last) = (all[0], all[all.len() - 1]);
    let value = |y: f64| first.1 + (y - first.0) * (last.1 - first.1) / (last.0 - first.0);
    let line = &seen.lines[0];
    assert!((value(line[0].1) - 3.0).abs() < 0.1, "{}", value(line[0].1));
    assert!((value(line[1].1) - 9.0).abs() < 0.1, "{}", value(line[1].1));

    // A logarithmic axis over 310 decades: the same by the logarithms.
    let snr = |t, snr| SchedulePoint { t, snr };
    let seen = see(&plots::schedule(&[snr(0.0, 1e-155), snr(1.0, 1e155)]).unwrap());
    let powers: Vec<(f64, f64)> = seen
        .texts
        .iter()
        .filter(|(_, text)| text.starts_with("1e") || text == "1")
        .map(|(y, text)| (*y, text.parse::<f64>().unwrap().log10()))
        .collect();
    let powers: Vec<_> = powers.into_iter().filter(|(y, _)| *y < 430.0).collect();
    assert!((4..=12).contains(&powers.len()), "{powers:?}");
    let (first, last) = (powers[0], powers[powers.len() - 1]);
    let power = |y: f64| first.1 + (y - first.0) * (last.1 - first.1) / (last.0 - first.0);
    let line = seen.lines.last().unwrap();
    assert!((power(line[0].1) + 155.0).abs() < 2.0, "{}", power(line[0].1));
    assert!((power(line[1].1) - 155.0).abs() < 2.0, "{}", power(line[1].1));
}

#[test]
fn the_legend_is_off_the_lines() {
    // Lines that rise, that fall, and that stay: no name of the legend is where one passes.
    for values in [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 2.0, 2.0]] {
        let epochs: Vec<_> = (1..).zip(values).map(|(e, v)| epoch(e, v, v)).collect();
        let seen = see(&plots::loss(&epochs).unwrap());
        let names = seen.texts.iter().filter(|(_, text)| text.contains("cross-entropy of"));
        let names: Vec<f64> = names.map(|(y, _)| *y).collect();
        assert_eq!(names.len(), 1);
        let drawn = seen.lines.iter().filter(|line| line.len() == 3);
        let highest = drawn.flatten().map(|p| p.1).fold(f64::INFINITY, f64::min);
        assert!(highest > names[0] + 25.0, "{highest} {names:?}");
    }
}

#[test]
fn training_and_validation_have_one_unit() {
    let seen = see(&plots::loss(&[epoch(1, 100.0, 2.0), epoch(2, 50.0, 1.0)]).unwrap());
    let texts: Vec<&str> = seen.texts.iter().map(|(_, text)| &text[..]).collect();
    for text in ["cross-entropy (nats)", "What training makes smaller"] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    // Two lines, on axes of their own: each fills its own height.
    let lines: Vec<_> = seen.lines.iter().filter(|line| line[0].1 != line[1].1).collect();
    assert_eq!(lines.len(), 2);
    assert!((lines[0][0].0 - lines[1][0].0).abs() > 300.0, "{lines:?}");
}

/// Bins of confidence, each with how often it is right.
#[test]
fn a_reliability_diagram_has_a_bar_for_each_bin_and_the_diagonal() {
    // 0.02: one wrong; 0.5: one of two right; 0.97: all four right.
    let confidences = [0.02, 0.5, 0.5, 0.97, 0.97, 0.97, 0.97];
    let right = [false, true, false, true, true, true, true];
    let reliability = Reliability::new(&confidences, &right).unwrap();
    let svg = plots::reliability(&reliability).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let number =
        |n: roxmltree::Node<'_, '_>, name| -> f64 { n.attribute(name).unwrap().parse().unwrap() };
    let filled = document
        .descendants()
        .filter(|n| n.has_tag_name("rect") && n.attribute("fill") == Some("#0072B2"));
    let bars: Vec<[f64; 4]> =
        filled.map(|n| ["x", "y", "width", "height"].map(|name| number(n, name))).collect();
    assert_eq!(bars.len(), reliability.bins().len());

    // The diagonal, from corner to corner.
    let black = document
        .descendants()
        .filter(|n| n.has_tag_name("polyline") && n.attribute("stroke") == Some("#000000"));
    let ends: Vec<Vec<(f64, f64)>> = black
        .map(|n| {
            let pairs = n.attribute("points").unwrap().split_whitespace();
            let point = |pair: &str| {
                let (x, y) = pair.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            };
            pairs.map(point).collect()
        })
        .collect();
    let rises = |ends: &&Vec<(f64, f64)>| {
        ends.len() == 2 && ends[1].0 > ends[0].0 + 300.0 && ends[1].1 < ends[0].1 - 300.0
    };
    let diagonal = ends.iter().find(rises).expect("a diagonal");
    let [(left, bottom), (right, top)] = diagonal[..] else { unreachable!() };

    // Where a bar is, and how high, in units of the axes.
    let shares = |[x, y, width, height]: [f64; 4]| {
        let across = |x: f64| (x - left) / (right - left);
        let up = |y: f64| (bottom - y) / (bottom - top);
        [across(x), across(x + width), up(y + height), up(y)]
    };
    for (bar, bin) in bars.iter().zip(reliability.bins()) {
        let expected = [bin.from, bin.to, 0.0, bin.accuracy];
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 0.01;
        let found = shares(*bar);
        assert!(found.iter().zip(&expected).all(close), "{found:?} and not {expected:?}");
    }
    let seen = see(&svg);
    assert!(seen.texts.iter().any(|(_, text)| text.starts_with("Reliability: calibration error")));
    // Nothing to show is no failure.
    see(&plots::reliability(&Reliability::default()).unwrap());
}
