//! The command `evaluate`: reads, evaluates, writes the report.

use crate::cli::EvaluateArgs;
use crate::config::Evaluation;
use crate::evaluate::data::Log;
use crate::evaluate::export::export;
use crate::evaluate::protocols::plan;
use crate::evaluate::report::csv::write_csv;
use crate::evaluate::report::html::write_html;
use crate::evaluate::report::table::write_table;
use crate::evaluate::report::{Report, write_json};
use crate::evaluate::study::{Options, study};
use crate::evaluate::tune::tune;
use crate::log;
use anyhow::{Context, Result};
use deltacart_inputs::file::FileProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

/// Runs the command.
///
/// # Errors
/// If the input cannot be used, a worker fails, or a report cannot be written.
pub(super) fn run(args: &EvaluateArgs, evaluation: Evaluation) -> Result<()> {
    let report = evaluated(args, evaluation)?;
    write(args, &report)
}

/// Tunes, evaluates and exports, as far as it is asked for.
fn evaluated(args: &EvaluateArgs, evaluation: Evaluation) -> Result<Report> {
    let Evaluation { streams, mut options, tune: search, defaults } = evaluation;
    let mut events = Log::read(&streams, &FileProgress::default())?;
    let bar = bar();
    let mut on_progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let mut tuned = None;
    if let Some(search) = search {
        let Options { protocol, sample, run, .. } = &options;
        let (best, found) = tune(&mut events, protocol, *sample, search, run, &mut on_progress)?;
        if !options.methods.iter().any(|method| method.name == best.name) {
            options.methods.push(best);
        }
        tuned = Some(found);
    }
    let mut report = study(&mut events, &options, &mut on_progress)?;
    report.tuned = tuned;
    bar.finish_and_clear();
    if let Some(path) = &args.export {
        let plan = plan(&mut events, &options.protocol, options.sample)?;
        to_file("--export", path, |out| export(out, &events, &plan, defaults, &options.run))?;
    }
    Ok(report)
}

/// Opens a file, or standard output, and writes to it.
fn to_file(flag: &str, path: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let cannot = || format!("cannot write {flag} {path}");
    if path == "-" {
        return write(&mut io::stdout().lock()).with_context(cannot);
    }
    let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
    write(&mut file).and_then(|()| Ok(file.flush()?)).with_context(cannot)
}

/// A bar on standard error, if somebody looks at it.
fn bar() -> ProgressBar {
    if !(log::is_for_people() && io::stderr().is_terminal()) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} cases, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Writes a report in one shape.
type WriteReport = fn(&mut dyn Write, &Report) -> io::Result<()>;

/// Writes the report to each place that is asked for, and as a table to standard output if that is free.
fn write(args: &EvaluateArgs, report: &Report) -> Result<()> {
    let shapes: [(&'static str, &Option<String>, WriteReport); 3] = [
        ("--json", &args.json, write_json),
        ("--csv", &args.csv, write_csv),
        ("--html", &args.html, write_html),
    ];
    for (flag, path, write) in shapes {
        if let Some(path) = path {
            to_file(flag, path, |out| Ok(write(out, report)?))?;
        }
    }
    let is_free = args.outputs().all(|(_flag, path)| path != "-");
    if is_free {
        write_table(&mut io::stdout().lock(), report).context("cannot write to standard output")?;
    }
    Ok(())
}
