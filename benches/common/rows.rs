//! Results: a table for people, and a JSON file for programs.
//!
//! The file has a named row for each figure of the documentation. A row that is measured again replaces the one of
//! the same name, so several programs can fill one file. The file names the machine that it was measured on, and
//! refuses rows from another machine.

use super::memory;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The figures of one row, in the order in which they are shown.
pub(crate) type Figures = Vec<(&'static str, Value)>;

/// Rows in the order in which they are measured.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Vec<(String, Figures)>,
}

impl Rows {
    pub(crate) fn push(&mut self, name: String, figures: Figures) {
        self.rows.push((name, figures));
    }

    /// The rows as a table. Curves, which are lists of points, are in the file only.
    pub(crate) fn table(&self) -> String {
        let mut columns = vec!["row"];
        for (name, value) in self.rows.iter().flat_map(|(_name, figures)| figures) {
            if !value.is_array() && !columns.contains(name) {
                columns.push(name);
            }
        }
        let mut lines = vec![columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>()];
        for (name, figures) in &self.rows {
            let cell = |column: &&str| {
                let figure = figures.iter().find(|(name, _value)| name == column);
                figure.map_or_else(String::new, |(_name, value)| text(value))
            };
            let cells = columns[1..].iter().map(cell);
            lines.push(std::iter::once(name.clone()).chain(cells).collect());
        }
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let mut table = String::new();
        for line in &lines {
            let _infallible = write!(table, "{:<1$}", line[0], widths[0]);
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                let _infallible = write!(table, "  {cell:>width$}");
            }
            table.push('\n');
        }
        table
    }

    /// Adds the rows to the file at `path`, if there is one.
    pub(crate) fn write(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let mut all = match fs::read_to_string(path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?
            }
            Err(_not_there) => json!({ "machine": machine(), "rows": {} }),
        };
        ensure!(
            all["machine"] == machine(),
            "{} was measured on another machine: give another file",
            path.display()
        );
        let rows = all["rows"].as_object_mut().context("the file has no rows")?;
        for (name, figures) in &self.rows {
            let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            rows.insert(name.clone(), Value::Object(figures.collect()));
        }
        fs::write(path, lines(&machine(), rows)?).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The text of the file. Each row is a line, sorted by name, so that a changed row is one changed line.
fn lines(machine: &Value, rows: &Map<String, Value>) -> Result<String> {
    let rows: Result<Vec<String>> = rows
        .iter()
        .map(|(name, row)| Ok(format!("{}: {}", json!(name), serde_json::to_string(row)?)))
        .collect();
    Ok(format!("{{\n\"machine\": {machine},\n\"rows\": {{\n{}\n}}\n}}\n", rows?.join(",\n")))
}

/// The properties of the machine that figures depend on.
fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let gigabytes = (memory::of_the_machine() as f64 / 1e9).round() as u64;
    json!({ "cores": cores, "memory_gb": gigabytes })
}

/// A measured number, rounded to five significant digits.
pub(crate) fn number(value: f64) -> Value {
    if value == 0.0 || !value.is_finite() {
        return json!(0);
    }
    let scale = 10f64.powi(4 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.fract() == 0.0 { json!(rounded as i64) } else { json!(rounded) }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}
