//! Two kinds of plots, drawn as inline SVG: lines, and bars with whiskers.
//!
//! Runs on: pure.

use std::fmt::Write;

use super::escape;

/// A line of a plot or a bar of a chart: who, and the number of its colour in the style sheet.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Colour.
    pub colour: usize,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// The frame of a plot of lines.
pub struct Frame<'a> {
    /// Below the horizontal axis.
    pub x: &'a str,
    /// Above the vertical axis.
    pub y: &'a str,
    /// Labels at whole numbers of the horizontal axis, instead of a scale.
    pub ticks: &'a [&'a str],
    /// A logarithmic vertical axis.
    pub log: bool,
    /// The line where y is x.
    pub diagonal: bool,
}

/// A plot of lines; empty when there is no point.
pub fn lines(frame: &Frame, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|s| s.points.iter());
    let high = |axis: fn(&(f64, f64)) -> f64| points().map(axis).fold(f64::NAN, f64::max);
    let (x_max, y_max) = (high(|p| p.0), high(|p| p.1));
    if !(x_max.is_finite() && y_max.is_finite()) {
        return String::new();
    }
    let y_min = points().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let scale = Scale::new(frame, x_max, y_min, y_max);
    let mut out = open(HEIGHT);
    scale.draw_axes(frame, &mut out);
    if frame.diagonal {
        let end = x_max.min(scale.y_high);
        let (x, y) = (scale.x(end), scale.y(end));
        let (x0, y0) = (scale.x(0.0), scale.y(0.0));
        let _ = write!(
            out,
            r#"<line class="mark" x1="{x0:.1}" y1="{y0:.1}" x2="{x:.1}" y2="{y:.1}"/>"#
        );
    }
    for (i, one) in series.iter().enumerate() {
        let colour = one.colour % COLOURS;
        let path: Vec<String> = one
            .points
            .iter()
            .map(|&(x, y)| format!("{:.1},{:.1}", scale.x(x), scale.y(y)))
            .collect();
        let _ = write!(
            out,
            r#"<polyline class="line l{colour}" points="{}"/>"#,
            path.join(" ")
        );
        for point in &path {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(
                out,
                r#"<circle class="f{colour}" cx="{x}" cy="{y}" r="3"/>"#
            );
        }
        let y = TOP + 14.0 + i as f64 * 19.0;
        let x = WIDTH - RIGHT + 16.0;
        let name = escape(&one.name);
        let _ = write!(
            out,
            r#"<rect class="f{colour}" x="{x}" y="{}" width="12" height="12" rx="2"/><text x="{}" y="{y}">{name}</text>"#,
            y - 10.0,
            x + 18.0
        );
    }
    out.push_str("</svg>");
    out
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Name on the left.
    pub name: String,
    /// Colour.
    pub colour: usize,
    /// Its length.
    pub value: f64,
    /// Ends of its whisker, when there is more than one measurement.
    pub whisker: Option<(f64, f64)>,
    /// Behind the bar.
    pub text: String,
}

/// Horizontal bars from 0; `mark` is drawn across all of them.
pub fn bars(bars: &[Bar], mark: Option<f64>) -> String {
    let ends = bars
        .iter()
        .map(|b| b.whisker.map_or(b.value, |w| w.1.max(b.value)));
    let most = ends.chain(mark).fold(f64::NAN, f64::max);
    if most.is_nan() {
        return String::new();
    }
    let width = WIDTH - BAR_LEFT - BAR_RIGHT;
    let x = |value: f64| BAR_LEFT + width * (value / most.max(1e-12)).clamp(0.0, 1.0);
    let height = bars.len() as f64 * STEP + 10.0;
    let mut out = open(height);
    for (i, bar) in bars.iter().enumerate() {
        let (y, colour) = (i as f64 * STEP + 6.0, bar.colour % COLOURS);
        let (middle, end) = (y + BAR / 2.0, x(bar.value));
        let name = escape(&bar.name);
        let _ = write!(
            out,
            r#"<text x="{}" y="{}" text-anchor="end">{name}</text><rect class="f{colour}" x="{BAR_LEFT}" y="{y}" width="{:.1}" height="{BAR}" rx="2"/>"#,
            BAR_LEFT - 8.0,
            middle + 4.0,
            (end - BAR_LEFT).max(0.5)
        );
        let mut text_at = end;
        if let Some((low, high)) = bar.whisker.filter(|(low, high)| low < high) {
            let (low, high) = (x(low), x(high));
            text_at = text_at.max(high);
            let (top, bottom) = (middle - 4.0, middle + 4.0);
            let _ = write!(
                out,
                r#"<path class="whisker" d="M{low:.1} {middle}H{high:.1}M{low:.1} {top}V{bottom}M{high:.1} {top}V{bottom}"/>"#
            );
        }
        let _ = write!(
            out,
            r#"<text class="dim" x="{:.1}" y="{}">{}</text>"#,
            text_at + 8.0,
            middle + 4.0,
            escape(&bar.text)
        );
    }
    if let Some(mark) = mark {
        let at = x(mark);
        let _ = write!(
            out,
            r#"<line class="mark" x1="{at:.1}" y1="0" x2="{at:.1}" y2="{height}"/>"#
        );
    }
    out.push_str("</svg>");
    out
}

struct Scale {
    x_high: f64,
    y_low: f64,
    y_high: f64,
    log: bool,
}

impl Scale {
    fn new(frame: &Frame, x_max: f64, y_min: f64, y_max: f64) -> Scale {
        let decade = |y: f64| y.max(1e-3).log10();
        let (y_low, y_high) = if frame.log {
            let low = decade(y_min).floor();
            (low, decade(y_max).ceil().max(low + 1.0))
        } else {
            (0.0, (y_max * 1.05).max(1e-9))
        };
        Scale {
            x_high: x_max.max(1e-9),
            y_low,
            y_high,
            log: frame.log,
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_high
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.log {
            value.max(1e-3).log10()
        } else {
            value
        };
        let part = (value - self.y_low) / (self.y_high - self.y_low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part
    }

    fn draw_axes(&self, frame: &Frame, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let steps: Vec<f64> = if self.log {
            (self.y_low as i32..=self.y_high as i32)
                .map(|decade| 10f64.powi(decade))
                .collect()
        } else {
            nice_steps(self.y_high)
        };
        for value in steps {
            let y = self.y(value);
            let _ = write!(
                out,
                r#"<line class="axis" x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/><text class="dim" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                y + 4.0,
                short(value)
            );
        }
        let mut tick = |at: f64, text: &str| {
            let x = self.x(at);
            let text = escape(text);
            let _ = write!(
                out,
                r#"<text class="dim" x="{x:.1}" y="{}" text-anchor="middle">{text}</text>"#,
                bottom + 18.0
            );
        };
        if frame.ticks.is_empty() {
            nice_steps(self.x_high)
                .iter()
                .for_each(|&value| tick(value, &short(value)));
        }
        for (i, text) in frame.ticks.iter().enumerate() {
            tick(i as f64, text);
        }
        let _ = write!(
            out,
            r#"<text class="dim" x="{}" y="{}" text-anchor="middle">{}</text><text class="dim" x="8" y="14">{}</text>"#,
            (LEFT + right) / 2.0,
            HEIGHT - 6.0,
            escape(frame.x),
            escape(frame.y)
        );
    }
}

/// Round numbers from 0 to at most `high`, about five.
fn nice_steps(high: f64) -> Vec<f64> {
    let raw = high / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|f| raw <= f * power)
        .unwrap_or(10.0);
    let step = factor * power;
    (0..=(high / step) as usize)
        .map(|i| i as f64 * step)
        .collect()
}

/// A number for an axis.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{}M", trim(value / 1e6)),
        v if v >= 1e3 => format!("{}k", trim(value / 1e3)),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn open(height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img">"#)
}

const COLOURS: usize = 10;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 172.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;
const BAR_LEFT: f64 = 158.0;
const BAR_RIGHT: f64 = 210.0;
const STEP: f64 = 26.0;
const BAR: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(nice_steps(430.0), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(nice_steps(1.0).len(), 6);
        let texts = [0.0, 0.5, 950.0, 30_000.0, 1_500_000.0].map(short);
        assert_eq!(texts, ["0", "0.5", "950", "30k", "1.5M"]);
    }

    #[test]
    fn plots_stay_inside_and_are_empty_without_points() {
        let frame = Frame {
            x: "offered",
            y: "<answered>",
            ticks: &[],
            log: false,
            diagonal: true,
        };
        assert_eq!(lines(&frame, &[]), "");
        assert_eq!(bars(&[], None), "");
        let series = Series {
            name: "a<b".into(),
            colour: 3,
            points: vec![(0.0, 0.0), (100.0, 90.0)],
        };
        let svg = lines(&frame, &[series]);
        assert!(
            svg.contains("a&lt;b") && svg.contains("&lt;answered&gt;"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>"));
        let bar = Bar {
            name: "b".into(),
            colour: 12,
            value: 1.0,
            whisker: Some((0.9, 2.0)),
            text: "1.00".into(),
        };
        let svg = bars(&[bar], Some(1.0));
        assert!(
            svg.contains("class=\"f2\"") && svg.contains("whisker"),
            "{svg}"
        );
    }

    #[test]
    fn logarithmic_axes_span_decades() {
        let frame = Frame {
            x: "",
            y: "",
            ticks: &["p50", "p99"],
            log: true,
            diagonal: false,
        };
        let scale = Scale::new(&frame, 1.0, 30.0, 4000.0);
        assert_eq!((scale.y_low, scale.y_high), (1.0, 4.0));
        assert!((scale.y(10.0) - (HEIGHT - BOTTOM)).abs() < 1e-9);
        assert!((scale.y(10_000.0) - TOP).abs() < 1e-9);
    }
}
