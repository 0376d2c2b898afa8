use std::fmt::Write;

use super::chart::{LEFT, RIGHT, WIDTH, open, round_up};
use super::html::escape;
use crate::show::count;

/// Bars that stand beside each other under one title.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A bar of one or several parts, from the bottom up.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    /// How much, what it is, and the class that colours it.
    pub(super) parts: Vec<(f64, &'static str, &'static str)>,
}

impl Bar {
    fn height(&self) -> f64 {
        self.parts.iter().map(|part| part.0).sum()
    }
}

/// Panels side by side over one scale, with a dashed line at the limit if there is
/// one.
pub(super) fn panels(panels: &[Panel], limit: Option<(f64, &str)>, description: &str) -> String {
    let heights = panels.iter().flat_map(|panel| &panel.bars).map(Bar::height);
    let most = heights
        .chain(limit.map(|limit| limit.0))
        .fold(1.0, f64::max);
    let top = round_up(most);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value / top).clamp(0.0, 1.0);
    let mut svg = open(HEIGHT, description);
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y(value) + 4.5,
            short(value),
            y = y(value),
        );
    }
    let width =
        (RIGHT - LEFT - GAP * panels.len().saturating_sub(1) as f64) / panels.len().max(1) as f64;
    for (at, panel) in panels.iter().enumerate() {
        let left = LEFT + at as f64 * (width + GAP);
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{left:.1}\" y=\"18\">{}</text>",
            escape(&panel.title)
        );
        let step = width / panel.bars.len().max(1) as f64;
        for (place, bar) in panel.bars.iter().enumerate() {
            let middle = left + step * (place as f64 + 0.5);
            let mut from = 0.0;
            for (much, what, class) in &bar.parts {
                let (above, below) = (y(from + much), y(from));
                from += much;
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{above:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
                     <title>{}: {} {what}</title></rect>",
                    middle - step * 0.36,
                    step * 0.72,
                    below - above,
                    escape(&bar.name),
                    count(*much as u64),
                );
            }
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 18.0,
                escape(&bar.name)
            );
        }
    }
    if let Some((value, name)) = limit {
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"halo tick\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            y(value) - 6.0,
            escape(name),
            y = y(value),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Thousands as `k`, so that they fit beside the axis.
fn short(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{}\u{a0}k", count((value / 1000.0).round() as u64))
    } else {
        count(value.round() as u64)
    }
}

const _: () = assert!(LEFT < RIGHT && RIGHT < WIDTH);
const HEIGHT: f64 = 290.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 260.0;
/// Between two panels.
const GAP: f64 = 28.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_flat_bars_draw_finite_numbers() {
        let bar = |much| Bar {
            name: "<a>".into(),
            parts: vec![(much, "rows", "kept")],
        };
        let panel = |bars| Panel {
            title: "<t>".into(),
            bars,
        };
        for drawn in [
            panels(&[], None, "x"),
            panels(&[panel(Vec::new())], Some((5.0, "limit")), "x"),
            panels(&[panel(vec![bar(0.0)]), panel(vec![bar(7e5)])], None, "x"),
        ] {
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            assert!(!drawn.contains("<a>") && !drawn.contains("<t>"));
            assert!(drawn.ends_with("</svg>\n"));
        }
    }
}
