//! Curves and bars as inline SVG.

use std::fmt::Write;

use crate::show::{count, percent};

/// A named line; `class` chooses its colour in the page's style sheet.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Hit ratio against cache size. `suggested` is marked on the size axis.
pub(super) fn hit_ratio(curves: &[Curve], suggested: usize, description: &str) -> String {
    let sizes = || {
        curves
            .iter()
            .flat_map(|curve| curve.points.iter().map(|&(size, _)| size))
    };
    let least = sizes().fold(f64::INFINITY, f64::min).max(1.0);
    let most = sizes().fold(least, f64::max);
    // A single size still needs an axis of some length.
    let most = if most > least { most } else { least * 10.0 };
    let frame = Frame {
        x: Scale::Log(least, most),
        y: Scale::Linear(0.0, 1.0),
    };
    let mut svg = open(HEIGHT, description);
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        frame.y_tick(&mut svg, share, &format!("{:.0} %", share * 100.0));
    }
    for tick in log_ticks(least, most) {
        frame.x_tick(&mut svg, tick, &count(tick as u64));
    }
    axis_title(&mut svg, "entries in the cache (logarithmic)");

    let at = frame.x(suggested as f64);
    let (anchor, shift) = beside(at);
    let _ = write!(
        svg,
        "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
         <text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">suggested: {}</text>",
        at + shift,
        TOP - 8.0,
        count(suggested as u64)
    );
    // The optimum is drawn first, so that the policies lie over it.
    for curve in curves {
        frame.line(&mut svg, curve);
        for &(size, share) in &curve.points {
            let _ = write!(
                svg,
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}, {} entries: {}</title></circle>",
                curve.class,
                frame.x(size),
                frame.y(share),
                curve.name,
                count(size as u64),
                percent(share)
            );
        }
    }
    label_curves(&mut svg, &frame, curves);
    svg.push_str("</svg>\n");
    svg
}

/// Names the curves where they lie furthest apart, in the free space below or
/// above all of them, with a thin line from each name to its curve.
fn label_curves(svg: &mut String, frame: &Frame, curves: &[Curve]) {
    const STEP: f64 = 19.0;
    let Some(first) = curves.first() else { return };
    let heights = |at: usize, skip: usize| {
        let points = curves
            .iter()
            .skip(skip)
            .filter_map(move |curve| curve.points.get(at));
        let low = points.clone().map(|point| point.1).fold(1.0, f64::min);
        (low, points.map(|point| point.1).fold(0.0, f64::max))
    };
    let needed = STEP * (curves.len() + 1) as f64;
    let room_below = |at: usize| BOTTOM - frame.y(heights(at, 0).0) - 34.0 >= needed;
    // The optimum, which comes first, always lies apart: where the policies
    // do is what matters. A place with room below is preferred to any other.
    let rank = |at: usize| {
        let (low, high) = heights(at, 1);
        (room_below(at), high - low)
    };
    // Labels need room beside the place they speak of.
    let inner = 1..first.points.len().saturating_sub(3).max(2);
    let best = inner.max_by(|&a, &b| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let Some(at) = best else { return };
    let mut named: Vec<(&Curve, (f64, f64))> = curves
        .iter()
        .filter_map(|curve| Some((curve, *curve.points.get(at)?)))
        .collect();
    named.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let (Some(highest), Some(lowest)) = (named.first(), named.last()) else {
        return;
    };

    let x = frame.x(highest.1.0);
    let (top, bottom) = (frame.y(highest.1.1), frame.y(lowest.1.1));
    let (start, anchor, column) = if room_below(at) && x < RIGHT - 240.0 {
        (bottom + 30.0, "start", x + 76.0)
    } else {
        (
            (top - needed - 8.0).max(TOP + 14.0),
            "end",
            (x - 60.0).max(LEFT + 170.0),
        )
    };
    let _ = write!(
        svg,
        "<text class=\"halo quiet\" x=\"{column:.1}\" y=\"{start:.1}\" text-anchor=\"{anchor}\">at {} entries</text>",
        count(highest.1.0 as u64)
    );
    for (place, (curve, (size, share))) in named.iter().enumerate() {
        let y = start + STEP * (place + 1) as f64;
        let side = if anchor == "start" { -5.0 } else { 5.0 };
        let _ = write!(
            svg,
            "<line class=\"lead {class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"halo name {class}\" x=\"{column:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{} {}</text>",
            frame.x(*size),
            frame.y(*share),
            column + side,
            y - 4.5,
            curve.name,
            percent(*share),
            class = curve.class,
        );
    }
}

/// Loads a second over time; each curve is named at its first peak.
pub(super) fn loads(without: &Curve, with: &Curve, cliff: f64, description: &str) -> String {
    let all = || without.points.iter().chain(&with.points);
    let end = all().map(|point| point.0).fold(1.0, f64::max);
    let top = round_up(all().map(|point| point.1).fold(1.0, f64::max));
    let frame = Frame {
        x: Scale::Linear(0.0, end),
        y: Scale::Linear(0.0, top),
    };
    let mut svg = open(HEIGHT, description);
    for step in 0..=4 {
        let loads = top * f64::from(step) / 4.0;
        frame.y_tick(&mut svg, loads, &count(loads.round() as u64));
    }
    let minutes = (end / 60.0) as u32;
    for minute in 0..=minutes {
        frame.x_tick(&mut svg, f64::from(minute) * 60.0, &minute.to_string());
    }
    axis_title(&mut svg, "minutes after everything was inserted at once");
    for curve in [without, with] {
        frame.line(&mut svg, curve);
    }
    for (curve, anchor, shift) in [(without, "start", 9.0), (with, "end", -9.0)] {
        let Some(&(second, loads)) = curve
            .points
            .iter()
            .filter(|point| point.0 < cliff * 1.5)
            .max_by(|a, b| a.1.total_cmp(&b.1))
        else {
            continue;
        };
        let (x, y) = (frame.x(second), frame.y(loads));
        let _ = write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
             <text class=\"halo name {class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}: {} a second</text>",
            x + shift,
            (y + 5.0).min(BOTTOM - 12.0),
            curve.name,
            count(loads as u64),
            class = curve.class,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// From data to places in the drawing.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) x: Scale,
    pub(super) y: Scale,
}

#[derive(Debug)]
pub(super) enum Scale {
    Linear(f64, f64),
    Log(f64, f64),
}

impl Scale {
    /// The way from the least to the most, `0.0` to `1.0`.
    fn part(&self, value: f64) -> f64 {
        let part = match *self {
            Self::Linear(least, most) => (value - least) / (most - least),
            Self::Log(least, most) => (value.max(least) / least).ln() / (most / least).ln(),
        };
        if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

impl Frame {
    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.part(value)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.y.part(value)
    }

    pub(super) fn line(&self, svg: &mut String, curve: &Curve) {
        let _ = write!(svg, "<polyline class=\"{}\" points=\"", curve.class);
        for &(x, y) in &curve.points {
            let _ = write!(svg, "{:.1},{:.1} ", self.x(x), self.y(y));
        }
        svg.push_str("\"/>\n");
    }

    pub(super) fn x_tick(&self, svg: &mut String, value: f64, label: &str) {
        let x = self.x(value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            BOTTOM + 5.0,
            BOTTOM + 20.0
        );
    }

    pub(super) fn y_tick(&self, svg: &mut String, value: f64, label: &str) {
        let y = self.y(value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.5
        );
    }
}

pub(super) fn open(height: f64, description: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{description}\">\n")
}

pub(super) fn axis_title(svg: &mut String, title: &str) {
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{title}</text>",
        BOTTOM + 41.0
    );
}

/// Which side of a mark has room for its label.
fn beside(x: f64) -> (&'static str, f64) {
    if x > RIGHT - 150.0 {
        ("end", 4.0)
    } else {
        ("start", -4.0)
    }
}

/// Round numbers between two: the powers of ten, and the twos and fives if
/// those are few.
fn log_ticks(least: f64, most: f64) -> Vec<f64> {
    let decades = (most / least).log10();
    let steps: &[f64] = if decades > 4.5 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let mut ticks = Vec::new();
    let mut decade = 10f64.powf(least.log10().floor());
    while decade <= most && ticks.len() < 40 {
        ticks.extend(steps.iter().map(|step| step * decade));
        decade *= 10.0;
    }
    ticks.retain(|tick| (least * 0.999..=most * 1.001).contains(tick));
    ticks
}

/// The next number of the kind 4, 8, 20, 40, 80: four even ticks fit below it.
pub(super) fn round_up(number: f64) -> f64 {
    let mut unit = 4.0;
    loop {
        for step in [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] {
            if unit * step >= number {
                return unit * step;
            }
        }
        unit *= 10.0;
    }
}

pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 430.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 736.0;
pub(super) const TOP: f64 = 30.0;
pub(super) const BOTTOM: f64 = 376.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, points: &[(f64, f64)]) -> Curve {
        Curve {
            name: name.into(),
            class: "lru",
            points: points.to_vec(),
        }
    }

    #[test]
    fn degenerate_curves_draw_finite_numbers() {
        for points in [
            &[(1.0, 0.0)][..],
            &[(1.0, 0.0), (1.0, 0.0)],
            &[(5.0, 0.9), (6.0, 1.0), (7.0, 1.0)],
            &[],
        ] {
            let curves = [curve("a", points), curve("b", points)];
            let drawings = [
                hit_ratio(&curves, 1, "x"),
                loads(&curves[0], &curves[1], 300.0, "x"),
            ];
            for svg in drawings {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(svg.ends_with("</svg>\n"));
            }
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(log_ticks(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(1.0, 1e6).len(), 7);
        let whole = |number: f64| round_up(number) as u64;
        assert_eq!([whole(1.0), whole(41.0), whole(341.0)], [4, 80, 400]);
    }
}
