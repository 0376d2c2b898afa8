use std::fmt::Write;

use super::chart::{BOTTOM, Curve, Frame, HEIGHT, LEFT, Scale, axis_title, open};

/// What happens over time, without and with the means against it.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    /// Seconds and values; the name says what is seen where it is highest first.
    pub(super) curves: &'a [Curve],
    /// The top of the scale, and how a value is written beside it.
    pub(super) most: f64,
    pub(super) show: fn(f64) -> String,
    /// Seconds between two marks on the axis.
    pub(super) every: u32,
    pub(super) axis: &'a str,
    /// A moment to mark, and what it is.
    pub(super) mark: Option<(f64, &'a str)>,
}

/// Draws it; each curve is named to the right of where it is highest first.
pub(super) fn timeline(timeline: &Timeline<'_>, description: &str) -> String {
    let points = timeline.curves.iter().flat_map(|curve| &curve.points);
    let end = points.map(|point| point.0).fold(1.0, f64::max);
    let frame = Frame {
        x: Scale::Linear(0.0, end),
        y: Scale::Linear(0.0, timeline.most),
    };
    let mut svg = open(HEIGHT, description);
    for step in 0..=4 {
        let value = timeline.most * f64::from(step) / 4.0;
        frame.y_tick(&mut svg, value, &(timeline.show)(value));
    }
    for mark in 0..=(end as u32 / timeline.every.max(1)) {
        let second = mark * timeline.every;
        frame.x_tick(&mut svg, f64::from(second), &second.to_string());
    }
    axis_title(&mut svg, timeline.axis);
    if let Some((second, name)) = timeline.mark {
        let x = frame.x(second);
        // To the left of it, where there is room.
        let (anchor, beside) = if x < LEFT + 130.0 {
            ("start", x + 8.0)
        } else {
            ("end", x - 8.0)
        };
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{BOTTOM}\"/>\
             <text class=\"halo tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            frame.y(timeline.most),
            beside,
            frame.y(timeline.most * 0.62),
        );
    }
    for curve in timeline.curves {
        frame.line(&mut svg, curve);
    }
    for curve in timeline.curves {
        let highest = curve.points.iter().map(|point| point.1).fold(0.0, f64::max);
        let first = curve.points.iter().find(|point| point.1 >= 0.99 * highest);
        let Some(&(second, value)) = first else {
            continue;
        };
        let (x, y) = (frame.x(second), frame.y(value));
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
             <text class=\"halo name {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 10.0,
            (y - 9.0).min(BOTTOM - 12.0),
            curve.name,
            class = curve.class,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_curves_draw_finite_numbers() {
        for points in [&[][..], &[(0.0, 0.0)], &[(0.0, 1.0), (5.0, 1.0)]] {
            let curves = [Curve {
                name: "a".into(),
                class: "bad",
                points: points.to_vec(),
            }];
            let drawn = timeline(
                &Timeline {
                    curves: &curves,
                    most: 0.0,
                    show: |value| value.to_string(),
                    every: 0,
                    axis: "seconds",
                    mark: Some((9.0, "m")),
                },
                "x",
            );
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            assert!(drawn.ends_with("</svg>\n"));
        }
    }
}
