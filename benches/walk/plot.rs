//! Curves in a logarithmic square, as SVG.

use std::fmt::Write;

/// A curve: its name and its points.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 388.0;
/// Told apart by the colour-blind too (Okabe and Ito), and by the shape of the points.
const COLOURS: [&str; 8] =
    ["#000000", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d1f"];

/// From a value to its place.
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        Self { from: (least / 1.3).log10(), to: (most * 1.3).log10(), start, end }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        self.start + share * (self.end - self.start)
    }

    /// 1, 2 and 5 times the powers of ten that lie inside.
    fn marks(&self) -> Vec<f64> {
        let powers = (self.from.floor() as i32)..=(self.to.ceil() as i32);
        let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|one| one * 10_f64.powi(power)));
        all.filter(|mark| (self.from..=self.to).contains(&mark.log10())).collect()
    }
}

/// `ticks` are the marks of the lower axis.
pub fn svg(title: &str, below: &str, beside: &str, ticks: &[f64], curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let x = Axis::over(points().map(|point| point.0), LEFT, RIGHT);
    let y = Axis::over(points().map(|point| point.1), BOTTOM, TOP);
    let mut out = String::new();
    let mut add = |line: String| writeln!(out, "{line}").expect("a string takes all");
    add(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    ));
    add(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"));
    add(format!("<text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>"));
    for mark in y.marks() {
        let at = y.at(mark);
        add(format!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#dddddd\"/>"));
        let x = LEFT - 8.0;
        add(format!("<text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>", at + 4.0));
    }
    for &tick in ticks {
        let (at, label, y) = (x.at(tick), short(tick), BOTTOM + 18.0);
        add(format!("<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#dddddd\"/>"));
        add(format!("<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
    }
    add(format!("<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#000000\"/>"));
    let middle = (LEFT + RIGHT) / 2.0;
    add(format!("<text x=\"{middle}\" y=\"426\" text-anchor=\"middle\">{below}</text>"));
    add(format!(
        "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{beside}</text>",
        (TOP + BOTTOM) / 2.0
    ));
    for (n, curve) in curves.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let places: Vec<_> = curve.points.iter().map(|&(a, b)| (x.at(a), y.at(b))).collect();
        let line: Vec<_> = places.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
        let line = line.join(" ");
        add(format!(
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ));
        let named = TOP + 12.0 + 22.0 * n as f64;
        let start = RIGHT + 14.0;
        add(format!("<path d=\"M{start} {named}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for &(a, b) in places.iter().chain([&(start + 12.0, named)]) {
            add(point(n, a, b, colour));
        }
        add(format!("<text x=\"{}\" y=\"{}\">{}</text>", start + 32.0, named + 4.0, curve.name));
    }
    add("</svg>".into());
    out
}

/// A circle, a square or a diamond.
fn point(n: usize, x: f64, y: f64, colour: &str) -> String {
    match n % 3 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"),
        1 => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" fill=\"{colour}\"/>",
            x - 3.5,
            y - 3.5
        ),
        _ => format!("<path d=\"M{x:.1} {:.1}l5 5l-5 5l-5-5z\" fill=\"{colour}\"/>", y - 5.0),
    }
}

/// 10k for 10,000.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}
