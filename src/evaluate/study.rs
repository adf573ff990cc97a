//! A whole evaluation: the plan, the runs, the intervals and the report.

use crate::evaluate::cases::Plan;
use crate::evaluate::data::Log;
use crate::evaluate::intervals::Samples;
use crate::evaluate::mcnemar;
use crate::evaluate::methods::{Method, exclude_name};
use crate::evaluate::metrics::{Cutoffs, Metric};
use crate::evaluate::protocols::{Cut, Protocol, Sample, plan};
use crate::evaluate::report::{Header, Report, Row, Score};
use crate::evaluate::run::{Outcome, RunSettings, run, unknown_truths};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::Exclude;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::thread;

/// What is evaluated, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is learned and what is asked.
    pub protocol: Protocol,
    /// Where the held-out part begins, as it was typed.
    pub split: Option<String>,
    /// Which units are asked.
    pub sample: Sample,
    /// What answers.
    pub methods: Vec<Method>,
    /// What is kept out of answers, unless a method says otherwise.
    pub exclude: Exclude,
    /// The name of the method that the others are compared with.
    pub baseline: String,
    /// Models that are frozen, beside the live one; for [`Protocol::Prequential`].
    pub freshness: Vec<Freshness>,
    /// How methods are run.
    pub run: RunSettings,
    /// Samples of the bootstrap. 0: no intervals.
    pub resamples: usize,
}

/// How long a frozen model stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
}

impl Freshness {
    /// Every kind, by its name.
    pub const ALL: [(&'static str, Freshness); 3] =
        [("hour", Freshness::Hour), ("day", Freshness::Day), ("week", Freshness::Week)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_name, kind)| *kind == self).map_or("", |(name, _kind)| name)
    }

    fn cut(self) -> Cut {
        let hours = match self {
            Freshness::Hour => 1,
            Freshness::Day => 24,
            Freshness::Week => 168,
        };
        const HOUR: NonZeroU64 = NonZeroU64::new(3_600_000).expect("it is not zero");
        Cut::Period(HOUR.saturating_mul(NonZeroU64::new(hours).unwrap_or(NonZeroU64::MIN)))
    }
}

impl FromStr for Freshness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(name, _kind)| *name == text);
        known.map(|(_name, kind)| *kind).ok_or_else(|| "want hour, day or week".to_owned())
    }
}

/// The cases of the sliding test.
const WINDOW: usize = 1000;

/// The points of a curve over the cases of a stream.
const CURVE_POINTS: usize = 60;

/// One method on one plan.
struct Run<'a> {
    method: &'a Method,
    /// How long the model stays as it is. None: as live as the protocol says.
    frozen: Option<Freshness>,
    outcome: Outcome,
}

/// Evaluates the methods of `options` on a log. `on_progress` gets the cases asked so far, and all.
///
/// # Errors
/// If the protocol finds nothing to ask, the baseline is unknown, or a worker fails.
pub fn study(log: &mut Log, options: &Options, on_progress: &mut dyn FnMut(usize, usize)) -> Result<Report> {
    ensure!(!options.methods.is_empty(), "--answer-by names no method");
    let is_stream = matches!(options.protocol, Protocol::Prequential(_));
    ensure!(is_stream || options.freshness.is_empty(), "--freshness goes with --protocol prequential");
    let baseline = options.methods.iter().position(|method| method.name == options.baseline);
    let baseline =
        baseline.with_context(|| format!("--baseline {} is no method of this run", options.baseline))?;
    let live = plan(log, &options.protocol, options.sample)?;
    let variants = 1 + options.freshness.len();
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut ask = |log: &Log, plan: &Plan, frozen: Option<Freshness>, number: usize| -> Result<()> {
        let mut progress = |done: usize, all: usize| on_progress(number * all + done, variants * all);
        let outcomes = run(log, plan, &options.methods, &options.run, &mut progress)?;
        let methods = options.methods.iter().zip(outcomes);
        runs.extend(methods.map(|(method, outcome)| Run { method, frozen, outcome }));
        Ok(())
    };
    ask(log, &live, None, 0)?;
    for (number, &frozen) in (1..).zip(&options.freshness) {
        let plan = plan(log, &Protocol::Prequential(frozen.cut()), options.sample)?;
        ask(log, &plan, Some(frozen), number)?;
    }
    let samples = draw(&runs, live.units(), options);
    let methods = options.methods.len();
    let rows = runs.iter().enumerate().map(|(place, run)| {
        // A frozen model is compared with the live one of its method, everything else with the baseline.
        let other = if run.frozen.is_some() { place % methods } else { baseline };
        row(run, &samples[place], (other != place).then(|| (&runs[other], &samples[other])), is_stream)
    });
    let rows = rows.collect();
    Ok(Report { header: header(log, &live, options), tuned: None, rows })
}

/// The samples of each run, drawn on as many threads as there are workers.
fn draw(runs: &[Run<'_>], units: usize, options: &Options) -> Vec<Samples> {
    let share = runs.len().div_ceil(options.run.workers).max(1);
    let draw =
        |run: &Run<'_>| Samples::draw(&run.outcome.sums, units, options.resamples, options.sample.seed);
    thread::scope(|scope| {
        let parts: Vec<_> = runs
            .chunks(share)
            .map(|runs| scope.spawn(move || runs.iter().map(draw).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// The row of a run, compared with another run if there is one.
fn row(run: &Run<'_>, samples: &Samples, other: Option<(&Run<'_>, &Samples)>, is_stream: bool) -> Row {
    let cutoffs = run.outcome.sums.cutoffs();
    let values = run.outcome.sums.totals().metrics();
    let others = other.map(|(other, _samples)| other.outcome.sums.totals().metrics());
    let mut scores = Vec::new();
    for (place, at) in cutoffs.each().enumerate() {
        for (number, metric) in Metric::ALL.into_iter().enumerate() {
            let index = place * Metric::ALL.len() + number;
            scores.push(Score {
                metric: metric.name(),
                at,
                value: values[index],
                interval: samples.interval(index),
                difference: others.as_ref().map(|others| values[index] - others[index]),
                difference_interval: other.and_then(|(_other, others)| samples.difference(others, index)),
            });
        }
        let of_all = [("coverage", run.outcome.sums.coverage(place)), ("gini", run.outcome.sums.gini(place))];
        for (metric, value) in of_all {
            let (interval, difference, difference_interval) = (None, None, None);
            scores.push(Score { metric, at, value, interval, difference, difference_interval });
        }
    }
    let name = match run.frozen {
        Some(frozen) => format!("{} frozen each {}", run.method.name, frozen.name()),
        None => run.method.name.clone(),
    };
    let hits = &run.outcome.hits;
    let compared = other.filter(|_other| is_stream);
    Row {
        method: name,
        compared_with: other.map(|(other, _samples)| other.method.name.clone()),
        scores,
        curve: if is_stream { curve(hits) } else { Vec::new() },
        mcnemar: compared.map_or(Vec::new(), |(other, _samples)| {
            mcnemar::sliding(hits, &other.outcome.hits, WINDOW.min(hits.len()).max(1))
        }),
    }
}

/// The hit rate of each slice of a stream, with the last case of the slice, from 1.
fn curve(hits: &[bool]) -> Vec<(usize, f64)> {
    let slice = hits.len().div_ceil(CURVE_POINTS).max(1);
    let slices = hits.chunks(slice).enumerate();
    let point = |(number, hits): (usize, &[bool])| {
        let count = hits.iter().filter(|hit| **hit).count();
        (number * slice + hits.len(), count as f64 / hits.len() as f64)
    };
    slices.map(point).collect()
}

fn header(log: &Log, plan: &Plan, options: &Options) -> Header {
    let cutoffs: &Cutoffs = &options.run.cutoffs;
    Header {
        protocol: options.protocol.name(),
        split: options.split.clone(),
        epoch: match options.protocol {
            Protocol::Prequential(Cut::Events(events)) => Some(events.get()),
            _ => None,
        },
        exclusion: exclude_name(options.exclude),
        ties: "score falling, then id rising by bytes; own and frequency: score, then baskets that hold the item",
        ranking: "all items that a learned basket holds",
        seed: options.sample.seed,
        sample: options.sample.share,
        intervals: format!("95 %, percentile bootstrap over {}s, {} samples", plan.unit, options.resamples),
        baseline: options.baseline.clone(),
        cutoffs: cutoffs.each().collect(),
        read: log.read.clone(),
        items: log.items.len(),
        baskets: log.baskets.len(),
        users: log.users.len(),
        learned: plan.rounds.iter().map(|round| round.learn.len()).sum(),
        cases: plan.cases.len(),
        unit: plan.unit,
        units: plan.units(),
        unknown_truths: unknown_truths(log, plan),
        skipped: plan.skipped.clone(),
    }
}
