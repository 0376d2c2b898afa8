use std::fmt::Write;

use super::chart::{LEFT, WIDTH, round_up};
use super::html::{all, escape};
use crate::show::count;

/// Bars beside each other under one title.
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

/// Panels over one scale, side by side where there is room and one below the other
/// where there is not, with a dashed line at the limit if there is one.
pub(super) fn panels(panels: &[Panel], limit: Option<f64>, description: &str) -> String {
    let heights = panels.iter().flat_map(|panel| &panel.bars).map(Bar::height);
    let most = heights.chain(limit).fold(1.0, f64::max);
    let scale = Scale {
        top: round_up(most),
        right: WIDTH / panels.len().max(1) as f64 - MARGIN,
    };
    let drawn = all(panels, |panel| draw(panel, &scale, limit, description));
    format!("<div class=\"panels\">\n{drawn}</div>\n")
}

/// What all panels share.
struct Scale {
    top: f64,
    /// Where the bars of a panel end.
    right: f64,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value / self.top).clamp(0.0, 1.0)
    }
}

fn draw(panel: &Panel, scale: &Scale, limit: Option<f64>, description: &str) -> String {
    let Scale { top, right } = scale;
    let width = right + MARGIN;
    let title = escape(&panel.title);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width:.0} {HEIGHT}\" style=\"max-width:{:.0}px\" role=\"img\" \
         aria-label=\"{description}: {title}\">\n<text class=\"name\" x=\"{LEFT}\" y=\"18\">{title}</text>\n",
        // No larger than the text around it, where it stands alone.
        1.15 * width
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let y = scale.y(value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.5,
            short(value),
        );
    }
    let step = (right - LEFT) / panel.bars.len().max(1) as f64;
    for (place, bar) in panel.bars.iter().enumerate() {
        let middle = LEFT + step * (place as f64 + 0.5);
        let name = escape(&bar.name);
        let mut from = 0.0;
        for (much, what, class) in &bar.parts {
            let (above, below) = (scale.y(from + much), scale.y(from));
            from += much;
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{above:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
                 <title>{name}: {} {what}</title></rect>",
                middle - step * 0.36,
                step * 0.72,
                below - above,
                count(*much as u64),
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            BOTTOM + 18.0,
        );
    }
    if let Some(limit) = limit {
        let y = scale.y(limit);
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
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

const HEIGHT: f64 = 290.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 260.0;
const MARGIN: f64 = 6.0;

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
            panels(&[panel(Vec::new())], Some(5.0), "x"),
            panels(&[panel(vec![bar(0.0)]), panel(vec![bar(7e5)])], None, "x"),
        ] {
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
            assert!(!drawn.contains("<a>") && !drawn.contains("<t>"));
            assert!(drawn.ends_with("</div>\n"));
        }
    }
}
