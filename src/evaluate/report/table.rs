//! The report as a table for people.

use crate::evaluate::report::{Report, Row, Score};
use crate::evaluate::tune::Tuned;
use std::io::{self, Write};

/// The metrics of the table, at the smallest cutoff.
const SHOWN: [&str; 6] = ["hr", "mrr", "recall", "ndcg", "coverage", "novelty"];

/// Writes the header, and a row for each method: the metrics that matter most, the interval of the first, and what
/// the method has more than the one it is compared with. A star marks a difference whose interval does not hold 0.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_table(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for line in report.header.lines() {
        writeln!(out, "{line}")?;
    }
    if let Some(tuned) = &report.tuned {
        let Tuned { flags, validation, at, cases, trials, .. } = tuned;
        let count = trials.len();
        writeln!(
            out,
            "tuned: {flags} (hr@{at} {validation:.4} on {cases} validation cases, of {count} settings)"
        )?;
    }
    writeln!(out)?;
    let at = report.header.cutoffs.first().copied().unwrap_or(1);
    let mut table = vec![titles(at, &report.header.baseline)];
    table.extend(report.rows.iter().map(|row| cells(row, at)));
    let columns = table[0].len();
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &table {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn titles(at: usize, baseline: &str) -> Vec<String> {
    let mut titles = vec!["method".to_owned()];
    for metric in SHOWN {
        titles.push(format!("{metric}@{at}"));
        if metric == SHOWN[0] {
            titles.extend(["95 %".to_owned(), format!("vs {baseline}")]);
        }
    }
    titles
}

fn cells(row: &Row, at: usize) -> Vec<String> {
    let mut cells = vec![row.method.clone()];
    for metric in SHOWN {
        let score = row.score(metric, at);
        cells.push(score.map_or(String::new(), |score| format!("{:.4}", score.value)));
        if metric == SHOWN[0] {
            let interval = score.and_then(|score| score.interval);
            cells.push(interval.map_or(String::new(), |it| format!("{:.4}–{:.4}", it.low, it.high)));
            cells.push(score.map_or(String::new(), difference));
        }
    }
    cells
}

/// The difference, with a star if its interval does not hold 0.
fn difference(score: &Score) -> String {
    let Some(difference) = score.difference else { return String::new() };
    let is_certain = score.difference_interval.is_some_and(|it| it.low > 0.0 || it.high < 0.0);
    format!("{difference:+.4}{}", if is_certain { "*" } else { " " })
}
