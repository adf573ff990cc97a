//! The report as CSV: a row for each method, metric and cutoff, behind the header as lines that begin with `#`.

use crate::evaluate::report::{Report, Score};
use std::io::{self, Write};

/// The columns.
const COLUMNS: [&str; 10] = [
    "method",
    "metric",
    "at",
    "value",
    "low",
    "high",
    "compared_with",
    "difference",
    "difference_low",
    "difference_high",
];

/// Writes a report as CSV.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_csv(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for line in report.header.lines() {
        writeln!(out, "# {line}")?;
    }
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(COLUMNS)?;
    for row in &report.rows {
        for score in &row.scores {
            let Score { metric, at, value, interval, difference, difference_interval } = score;
            let text = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
            rows.write_record([
                row.method.as_str(),
                metric,
                &at.to_string(),
                &value.to_string(),
                &text(interval.map(|it| it.low)),
                &text(interval.map(|it| it.high)),
                row.compared_with.as_deref().unwrap_or_default(),
                &text(*difference),
                &text(difference_interval.map(|it| it.low)),
                &text(difference_interval.map(|it| it.high)),
            ])?;
        }
    }
    rows.flush()
}
