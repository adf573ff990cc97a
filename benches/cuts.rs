//! Sampling of items in too many baskets: what `--max-item-baskets` costs in accuracy, and what it saves.
//!
//! What: a workload's changes go through the whole pipeline (cosine, k = 10, 3 digits) on one worker, in epochs of
//! `--epoch` changes. This is done without a limit and with each of `--limits`. The final lists are compared with the
//! exact ones, and their counts with the counts of the final lines.
//!
//! Shapes: a row `cuts/WORKLOAD/EPOCH/LIMIT` (`none` is without a limit) has
//! - `time_ratio`: its time divided by the time without a limit. Both are medians of `--runs` runs in turn, each in
//!   its own process; in these runs, nothing is encoded or kept;
//! - `sampled`: items in more baskets than the limit; `estimated`: the share of listed pairs that have such an item;
//! - `overlap`: the mean share of an exact list that is in the list with the limit, over all items that have an exact
//!   list; `overlap_sampled`: the same over the sampled items alone, whose lists are all estimates;
//! - `error`: over the listed pairs that are estimated, the mean of |estimate − count| / count. Listed pairs are
//!   those with the highest scores, so estimates that are too large are overrepresented. The error of a pair that is
//!   chosen beforehand is smaller.
//!
//! ```text
//! cargo bench --bench cuts -- [--workloads retail,journey] [--limits 100,300,1000,3000] [--epoch N] [--runs N]
//!     [--lines N] [--data DIR] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow, ensure};
use common::arguments::Arguments;
use common::intake::{Events, Intake};
use common::observe::{Seen, Watch, observe};
use common::programs::{config, params};
use common::rows::{Rows, number};
use common::workload::{Lines, Prepared};
use common::{children, memory, workload};
use deltacart_dataflows::{List, Name, Params, Recommendations, recommend};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;
use timely::CommunicationConfig;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    path: PathBuf,
    lines: usize,
    epoch: usize,
    limit: Option<NonZeroU32>,
    /// Whether the run keeps the lists. Then its time does not count.
    keeps: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    seconds: f64,
    /// The peak of resident bytes, without those of the workload.
    peak: u64,
    sampled: u64,
    lists: Vec<(Name, List)>,
}

type AllLists = BTreeMap<Name, List>;

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        return children::report(&measure(case)?);
    }
    let workloads = arguments.list("--workloads", "retail,journey")?;
    let limits = arguments.list("--limits", "100,300,1000,3000")?;
    let epoch = arguments.value("--epoch", 10_000)?;
    let runs = arguments.value("--runs", 3)?;
    let lines = arguments.value("--lines", usize::MAX)?;
    let data = arguments.data()?;
    let json: Option<PathBuf> = arguments.option("--json")?;
    arguments.end()?;
    ensure!(epoch > 0 && runs > 0, "--epoch and --runs are at least 1");
    let limits: Result<Vec<NonZeroU32>> =
        limits.iter().map(|limit| limit.parse().with_context(|| format!("--limits {limit}"))).collect();
    let limits: Vec<_> = std::iter::once(None).chain(limits?.into_iter().map(Some)).collect();

    let mut rows = Rows::default();
    for name in workloads {
        if let Some(prepared) = workload::prepare(&name, &data)? {
            let case = Case { path: prepared.path.clone(), lines, epoch, limit: None, keeps: false };
            compare(&prepared, &case, &limits, runs, &mut rows)?;
        }
    }
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

/// Measures a workload with each limit, and compares the lists. The first limit must be none.
fn compare(
    workload: &Prepared,
    case: &Case,
    limits: &[Option<NonZeroU32>],
    runs: usize,
    rows: &mut Rows,
) -> Result<()> {
    let cases: Vec<Case> = limits.iter().map(|&limit| Case { limit, ..case.clone() }).collect();
    let timed: Vec<Vec<Outcome>> = children::measure_in_turn(&cases, runs)?;
    let truth = Truth::of(case)?;
    let (mut exact, mut exact_seconds) = (AllLists::new(), 0.0);
    for (case, outcomes) in cases.iter().zip(timed) {
        let outcome = children::median(outcomes, |outcome| outcome.seconds);
        let kept: Outcome = children::measure(&Case { keeps: true, ..case.clone() })?;
        let lists: AllLists = kept.lists.into_iter().collect();
        let limit = case.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        let mut figures = vec![
            ("events", json!(workload.changes.min(case.lines))),
            ("seconds", number(outcome.seconds)),
            ("events_per_s", number(workload.changes.min(case.lines) as f64 / outcome.seconds)),
            ("peak_mb", number(outcome.peak as f64 / 1e6)),
        ];
        if let Some(limit) = case.limit {
            let estimates = truth.estimates(&lists, limit);
            let sampled = |item: &Name| truth.support(item) > limit.get() as usize;
            figures.extend([
                ("time_ratio", number(outcome.seconds / exact_seconds)),
                ("sampled", json!(kept.sampled)),
                ("estimated", number(estimates.0)),
                ("overlap", number(overlap(&exact, &lists, |_item| true))),
                ("overlap_sampled", number(overlap(&exact, &lists, sampled))),
                ("error", number(estimates.1)),
            ]);
        } else {
            (exact, exact_seconds) = (lists, outcome.seconds);
        }
        rows.push(format!("cuts/{}/{}/{limit}", workload.name, case.epoch), figures);
    }
    Ok(())
}

/// The mean share of an exact list that is in the other list, over the items for which `of` is true.
fn overlap(exact: &AllLists, lists: &AllLists, of: impl Fn(&Name) -> bool) -> f64 {
    let share = |(item, exact): (&Name, &List)| {
        let list = lists.get(item).map_or(&[][..], Vec::as_slice);
        let both = exact.iter().filter(|&entry| list.iter().any(|other| other.item == entry.item));
        both.count() as f64 / exact.len() as f64
    };
    mean(exact.iter().filter(|(item, _list)| of(item)).map(share))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// The final baskets of each item, in rising order.
struct Truth(BTreeMap<Name, Vec<u32>>);

impl Truth {
    fn of(case: &Case) -> Result<Self> {
        let lines = Lines::after(workload::load(&case.path, case.lines)?.into_iter());
        let mut baskets: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for (basket, item) in lines.all() {
            baskets.entry(workload::item_name(item)).or_default().push(basket);
        }
        baskets.values_mut().for_each(|baskets| baskets.sort_unstable());
        Ok(Truth(baskets))
    }

    fn baskets(&self, item: &Name) -> &[u32] {
        self.0.get(item).map_or(&[], Vec::as_slice)
    }

    fn support(&self, item: &Name) -> usize {
        self.baskets(item).len()
    }

    fn count(&self, a: &Name, b: &Name) -> usize {
        let (a, b) = (self.baskets(a), self.baskets(b));
        let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
        few.iter().filter(|&basket| many.binary_search(basket).is_ok()).count()
    }

    /// The share of listed pairs that are estimated, and the mean relative error of those.
    fn estimates(&self, lists: &AllLists, limit: NonZeroU32) -> (f64, f64) {
        let pairs = lists.iter().flat_map(|(item, list)| list.iter().map(move |entry| (item, entry)));
        let (mut listed, mut errors) = (0u32, Vec::new());
        for (item, entry) in pairs {
            listed += 1;
            let count = self.count(item, &entry.item) as f64;
            if self.support(item).max(self.support(&entry.item)) > limit.get() as usize {
                errors.push((f64::from(entry.count) - count).abs() / count);
            } else {
                assert_eq!(f64::from(entry.count), count, "{item} and {} are counted exactly", entry.item);
            }
        }
        let estimated = errors.len() as f64 / f64::from(listed.max(1));
        (estimated, mean(errors.into_iter()))
    }
}

fn measure(case: Case) -> Result<Outcome> {
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| pipeline(worker, &case))
        .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    threads.join().pop().context("a worker")?.map_err(|error| anyhow!("a worker stopped: {error}"))?
}

fn pipeline(worker: &mut Worker, case: &Case) -> Result<Outcome> {
    let changes = workload::load(&case.path, case.lines)?;
    let before = memory::resident();
    memory::forget_peak();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut events = Events::default();
    let params = Params { item_baskets_max: case.limit, ..params() };
    let (probe, sampling) = worker.dataflow(|scope| {
        let Recommendations { lists, sampling, .. } = recommend(scope.input_from(&mut events.input), params);
        let watch = if case.keeps { Watch::Keep } else { Watch::Count };
        (observe(lists, watch, &seen), sampling)
    });
    let mut seconds = 0.0;
    for (next, changes) in (1..).zip(changes.chunks(case.epoch)) {
        events.prepare(&mut changes.iter().copied());
        let start = Instant::now();
        events.send();
        events.advance_to(next);
        worker.step_while(|| probe.less_than(&next));
        seconds += start.elapsed().as_secs_f64();
    }
    let lists = std::mem::take(&mut seen.borrow_mut().lists).into_iter().collect();
    let sampled = sampling.map_or(0, |sampling| sampling.over());
    Ok(Outcome { seconds, peak: memory::peak().saturating_sub(before), sampled, lists })
}
