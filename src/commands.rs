//! The commands: each makes its settings, handles signals, does its work, and reports the result.

mod evaluate;
mod progress;

use crate::cli::{Cli, Command, DemoArgs, GenerateArgs, RunArgs, ServeArgs, TopArgs};
use crate::cluster::die_on_panic;
use crate::config;
use crate::demo::demo;
use crate::generate::generate;
use crate::job::{Destination, Timeouts};
use crate::plural::counted;
use crate::process::Handle;
use crate::slow_reader::SlowReader;
use crate::summary::Summary;
use crate::top::{escaped, top};
use crate::{launch, log, metrics, serve};
use anyhow::{Context, Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The failure of a command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code: 1 if the command failed, 2 if the command line or the settings are invalid.
    pub code: u8,
    /// The error to report.
    pub cause: anyhow::Error,
}

/// Runs the command that a command line names.
///
/// # Errors
/// A [`Failure`], with the exit code and the error to report.
pub fn run(cli: Cli) -> Result<(), Failure> {
    log::set_up(cli.log.log_format, cli.log.log.as_deref(), cli.log.run_label).map_err(wrong_settings)?;
    die_on_panic();
    match cli.command {
        Command::Run(args) => run_job(*args),
        Command::Demo(args) => run_demo(&args),
        Command::Generate(args) => run_generate(&args),
        Command::Top(args) => run_top(&args),
        Command::Serve(args) => run_serve(&args),
        Command::Evaluate(args) => {
            let evaluation = config::evaluate(&args).map_err(wrong_settings)?;
            evaluate::run(&args, evaluation).map_err(failed)
        }
        Command::Completions { shell } => {
            config::completions(shell, &mut io::stdout());
            Ok(())
        }
    }
}

fn failed(cause: anyhow::Error) -> Failure {
    Failure { code: 1, cause }
}

fn wrong_settings(cause: anyhow::Error) -> Failure {
    Failure { code: 2, cause }
}

fn run_job(args: RunArgs) -> Result<(), Failure> {
    let metrics = config::metrics(&args).map_err(wrong_settings)?;
    let options = config::serve(&args.server).map_err(wrong_settings)?;
    let job = config::job(args).map_err(wrong_settings)?;
    let stop = stop_on_signals().map_err(failed)?;
    let handle = Handle::new(stop);
    if let Some(address) = metrics {
        metrics::serve(address, handle.meter().clone()).map_err(|error| failed(error.into()))?;
    }
    if let Some((options, serving)) = options.zip(job.serving.as_ref()) {
        serve::serve_job(options, serving, handle.meter()).map_err(|error| failed(error.into()))?;
    }
    let is_bounded = job.streams.is_bounded();
    // Files are judged one by one, while the job runs. A job that resumed from a snapshot has seen only the rest of the
    // input, which says nothing about the records before.
    let is_judged = is_bounded && !job.streams.is_files() && job.state.is_none();
    let has_bar = job.streams.is_files() && is_bounded;
    let bar = (has_bar && log::is_for_people() && io::stderr().is_terminal())
        .then(|| progress::Bar::start(handle.progress().clone()));
    let is_live = !job.streams.is_files() && !is_bounded;
    let reporter = bar.is_none().then(|| progress::Reporter::start(handle.clone(), is_live));
    let summary = launch::run(job, &handle);
    drop((bar, reporter));
    let summary = summary.map_err(failed)?;
    if let Some(summary) = &summary {
        log::say_with(summary, summary.fields());
    }
    let unusable = || {
        let is_unusable = is_judged && summary.as_ref().is_some_and(Summary::is_unusable);
        let why = handle.first_reject().unwrap_or_default();
        is_unusable
            .then(|| format!("nothing of the input could be used: the first record was rejected as {why}"))
    };
    match handle.verdict().or_else(unusable) {
        Some(verdict) => Err(failed(anyhow!(verdict))),
        None => Ok(()),
    }
}

fn run_demo(args: &DemoArgs) -> Result<(), Failure> {
    let mut out = io::stdout();
    let is_terminal = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let options = config::demo(args, is_terminal).map_err(wrong_settings)?;
    let stop = stop_on_signals().map_err(failed)?;
    demo(&options, &stop, &mut out).map_err(failed)?;
    Ok(())
}

fn run_serve(args: &ServeArgs) -> Result<(), Failure> {
    let options = config::replica(args).map_err(wrong_settings)?;
    let followed = config::followed(args).map_err(failed)?;
    let stop = stop_on_signals().map_err(failed)?;
    serve::serve_replica(options, followed, &stop).map_err(failed)
}

fn run_generate(args: &GenerateArgs) -> Result<(), Failure> {
    let options = config::generate(args).map_err(wrong_settings)?;
    let stop = stop_on_signals().map_err(failed)?;
    let _slow_reader = match &options.output {
        Destination::File(path) => SlowReader::watch(path, &stop, Timeouts::default().stop, || true)
            .context("cannot start a thread")
            .map_err(failed)?,
        Destination::Topic(_) => None,
    };
    let generated = generate(&options, &stop).map_err(failed)?;
    log::say_with(generated, generated.fields());
    match args.events {
        Some(events) if generated.events < events && stop.load(Ordering::Relaxed) => {
            Err(failed(anyhow!("interrupted after {} of {events} events", generated.events)))
        }
        _ => Ok(()),
    }
}

fn run_top(args: &TopArgs) -> Result<(), Failure> {
    let options = config::top(args).map_err(wrong_settings)?;
    let mut source = config::lists(args).map_err(failed)?;
    let stop = stop_on_signals().map_err(failed)?;
    let summary =
        top(&mut *source, &options, &stop, &mut io::stdout().lock()).map_err(|error| failed(error.into()))?;
    if summary.unreadable > 0 {
        log::say(format_args!("{} of {} records are no lists", summary.unreadable, summary.records));
    }
    if let (Some(item), 0) = (&args.item, summary.lists) {
        log::say(format_args!("no list of {}", escaped(item)));
    }
    if summary.interrupted {
        let records = counted(summary.records, "record(s)");
        return Err(failed(anyhow!("interrupted: the lists are of the {records} read so far")));
    }
    let more = summary.lists.saturating_sub(summary.shown) as u64;
    if !args.follow && more > 0 {
        log::say(format_args!(
            "{} of {} shown: see --limit and --item",
            summary.shown,
            counted(summary.lists as u64, "list(s)")
        ));
    }
    Ok(())
}

/// A flag that SIGINT and SIGTERM set, for an orderly shutdown. A second signal ends the process at once, with exit
/// code 1.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop)).context("cannot handle signals")?;
        flag::register(signal, Arc::clone(&stop)).context("cannot handle signals")?;
    }
    Ok(stop)
}
