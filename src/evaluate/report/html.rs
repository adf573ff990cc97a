//! The report as one page of HTML: the header, curves as SVG, every figure. It needs nothing from outside, and follows
//! the reader's choice of light or dark.

use crate::evaluate::mcnemar::SIGNIFICANT;
use crate::evaluate::report::{Report, Row};
use plotters::prelude::*;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Colours in the drawing that stand for colours of the page, which differ between light and dark.
const STAND_INS: [(RGBColor, &str); 10] = [
    (RGBColor(1, 0, 0), "--ink"),
    (RGBColor(2, 0, 0), "--grid"),
    (RGBColor(3, 0, 0), "--c0"),
    (RGBColor(4, 0, 0), "--c1"),
    (RGBColor(5, 0, 0), "--c2"),
    (RGBColor(6, 0, 0), "--c3"),
    (RGBColor(7, 0, 0), "--c4"),
    (RGBColor(8, 0, 0), "--c5"),
    (RGBColor(9, 0, 0), "--c6"),
    (RGBColor(10, 0, 0), "--c7"),
];

/// The stand-ins of curves begin here.
const FIRST_CURVE: usize = 2;

const STYLE: &str = "
:root { --paper: #fff; --ink: #1b1f24; --grid: #d8dee4; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #cf222e; --c5: #0a7d8c; --c6: #9a6700; --c7: #57606a; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --grid: #30363d; --c0: #58a6ff;
  --c1: #ffa657; --c2: #56d364; --c3: #d2a8ff; --c4: #ff7b72; --c5: #39c5cf; --c6: #e3b341; --c7: #8b949e; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
svg { height: auto; max-width: 100%; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--grid); padding: .2rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } .scroll { overflow-x: auto; } small { opacity: .75; }
.key span { margin-right: 1.2rem; white-space: nowrap; } .key i { display: inline-block; height: .7em; width: .7em; }
";

/// A named curve.
type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// Writes a report as a page.
///
/// # Errors
/// If a curve cannot be drawn, or `out` cannot be written.
pub fn write_html(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let title = format!("deltacart evaluate: {}", report.header.protocol);
    writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>",
        escaped(&title)
    )?;
    writeln!(out, "<style>{STYLE}</style></head><body><h1>{}</h1><ul>", escaped(&title))?;
    for line in report.header.lines() {
        writeln!(out, "<li>{}</li>", escaped(&line))?;
    }
    writeln!(out, "</ul>")?;
    let at = report.header.cutoffs.first().copied().unwrap_or(1);
    for metric in ["hr", "ndcg"] {
        let curves = by_cutoff(report, metric);
        if report.header.cutoffs.len() > 1 {
            figure(out, &format!("{metric} by cutoff"), &curves)?;
        }
    }
    let stream = |points: fn(&Row) -> Vec<(f64, f64)>| -> Vec<Curve<'_>> {
        let curves = report.rows.iter().map(|row| (row.method.as_str(), points(row)));
        curves.filter(|(_name, points)| points.len() > 1).collect()
    };
    let rolling = stream(|row| row.curve.iter().map(|&(case, rate)| (case as f64, rate)).collect());
    figure(out, &format!("hr@{at} along the stream, by case"), &rolling)?;
    let tests = stream(|row| row.mcnemar.iter().map(|point| (point.case as f64, point.statistic)).collect());
    let what = format!("McNemar's test along the stream; beyond ±{SIGNIFICANT} significant at 1 %");
    figure(out, &what, &tests)?;
    for &at in &report.header.cutoffs {
        table(out, report, at)?;
    }
    writeln!(out, "</body></html>")
}

/// A metric of each method, by cutoff.
fn by_cutoff<'a>(report: &'a Report, metric: &str) -> Vec<Curve<'a>> {
    let points = |row: &Row| {
        let scores = row.scores.iter().filter(|score| score.metric == metric);
        scores.map(|score| (score.at as f64, score.value)).collect()
    };
    report.rows.iter().map(|row| (row.method.as_str(), points(row))).collect()
}

/// A heading, a drawing and its key. Nothing, if there is no curve.
fn figure(out: &mut dyn Write, heading: &str, curves: &[Curve<'_>]) -> io::Result<()> {
    if curves.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>{}</h2>", escaped(heading))?;
    let drawing =
        draw(curves).map_err(|error| io::Error::other(format!("cannot draw {heading}: {error}")))?;
    writeln!(out, "{drawing}<p class=\"key\">")?;
    for (number, (name, _points)) in curves.iter().enumerate() {
        let (_stand_in, colour) = colour(number);
        writeln!(out, "<span><i style=\"background: var({colour})\"></i> {}</span>", escaped(name))?;
    }
    writeln!(out, "</p>")
}

/// The colour of a curve. They come again when there are many.
fn colour(number: usize) -> (RGBColor, &'static str) {
    STAND_INS[FIRST_CURVE + number % (STAND_INS.len() - FIRST_CURVE)]
}

/// The curves as SVG, in the colours of the page.
fn draw(curves: &[Curve<'_>]) -> Result<String, Box<dyn std::error::Error>> {
    let points = || curves.iter().flat_map(|(_name, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        (low, if high > low { high } else { low + 1.0 })
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (900, 320)).into_drawing_area();
        let (ink, grid) = (STAND_INS[0].0, STAND_INS[1].0);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(left..right, low.min(0.0)..high * 1.05)?;
        let label = ("sans-serif", 13).into_font().color(&ink);
        chart
            .configure_mesh()
            .axis_style(ink)
            .bold_line_style(grid)
            .light_line_style(grid.mix(0.0))
            .label_style(label)
            .draw()?;
        for (number, (_name, points)) in curves.iter().enumerate() {
            let style = colour(number).0.stroke_width(2);
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        }
        area.present()?;
    }
    for (RGBColor(red, green, blue), colour) in STAND_INS {
        text = text.replace(&format!("#{red:02X}{green:02X}{blue:02X}"), &format!("var({colour})"));
    }
    Ok(text)
}

/// All metrics at a cutoff.
fn table(out: &mut dyn Write, report: &Report, at: usize) -> io::Result<()> {
    let Some(first) = report.rows.first() else { return Ok(()) };
    writeln!(out, "<h2>At {at}</h2><div class=\"scroll\"><table><tr><th>method</th>")?;
    for score in first.scores.iter().filter(|score| score.at == at) {
        writeln!(out, "<th>{}</th>", escaped(score.metric))?;
    }
    writeln!(out, "</tr>")?;
    for row in &report.rows {
        writeln!(out, "<tr><td>{}</td>", escaped(&row.method))?;
        for score in row.scores.iter().filter(|score| score.at == at) {
            let interval = score
                .interval
                .map_or(String::new(), |it| format!("<br><small>{:.4}–{:.4}</small>", it.low, it.high));
            writeln!(out, "<td>{:.4}{interval}</td>", score.value)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

/// Text that may stand anywhere in the page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character if character.is_control() => {
                // A string takes everything.
                let _ = write!(safe, "{}", character.escape_default());
            }
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("<b a=\"1\">'&\u{7}"), "&lt;b a=&quot;1&quot;&gt;&#39;&amp;\\u{7}");
    }

    #[test]
    fn drawings_have_the_colours_of_the_page() {
        let curves: Vec<Curve<'_>> =
            vec![("a", vec![(1.0, 0.5), (2.0, 0.7)]), ("b", vec![(1.0, 0.1), (2.0, 0.1)])];
        let text = draw(&curves).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        assert!(
            text.contains("var(--c0)") && text.contains("var(--c1)") && text.contains("var(--ink)"),
            "{text}"
        );
        assert!(!text.contains("#0"), "no stand-in is left: {text}");
        // One point, and no range at all.
        assert!(draw(&[("a", vec![(1.0, 0.0)])]).is_ok());
    }
}
