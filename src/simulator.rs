//! The simulator: runs the real job in a simulated environment, in which a seed determines every step.
//!
//! ```text
//!              ┌──────────────────────── one thread ─────────────────────────┐
//!  shop ──────▶│ worker 0 ◀─ links ─▶ worker 1 …   each stepped in its turn: │──▶ broker ──▶ check
//!  partitions, │    ▲                                Task::turn, then step   │    transactions
//!  repetitions │    └ one run after another, sometimes beside a zombie       │    that fail, wait,
//!              └──────────────▲──────────────────────────────▲───────────────┘    are aborted
//!                           clock                          disk that crashes
//! ```
//!
//! A [`seed`](seed::run) is a small shop and some runs of the job. The runs end in every way in which a job can end;
//! the last one ends in good order. Then everything that a committed reader has seen must be a valid history, and
//! must end at the lists of the plain model ([`check`]) and at its notes ([`notes`]).
//!
//! Real are `worker`, `publish`, `state`, the dataflows, the decoder and the encoder. Simulated are threads, network,
//! clock, Kafka and the disk.
//!
//! Environment variables select what to run: `DELTACART_TEST_SEED` the first seed, `DELTACART_TEST_SEEDS` the number
//! of seeds from there. `DELTACART_TEST_TRACE` prints everything that happens. `scripts/simulate` runs many seeds.

mod broker;
mod check;
mod disk;
mod letters;
mod retention;
mod sim_context;
mod kill_switch;
mod input;
mod job_run;
mod notes;
mod output;
mod seed;
mod shop;
mod workers;

use seed::Outcome;
use sim_context::{Bug, Fault};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// How many seeds are run by default: enough that every fault strikes at least once.
const SEEDS: u64 = 400;

/// A planted bug must be found within this many seeds.
const SEEDS_OF_A_BUG: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Runs a seed. A panic counts as a failure.
fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| seed::run(seed, bug))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or(panic.downcast_ref::<&str>().copied()).unwrap_or("something");
        let failure = Some(anyhow::anyhow!("the job panics: {what}"));
        Outcome { hits: BTreeMap::new(), trace: 0, failure }
    })
}

/// Whatever goes wrong, consumers see a valid history that ends at the model's lists. Every fault must strike.
#[test]
fn seeds() {
    let (seed, seeds) = (number("DELTACART_TEST_SEED"), number("DELTACART_TEST_SEEDS"));
    let first = seed.unwrap_or(0);
    let last = first + seeds.unwrap_or(if seed.is_some() { 1 } else { SEEDS });
    let (next, start) = (AtomicU64::new(first), Instant::now());
    let hits: Mutex<BTreeMap<Fault, u64>> = Mutex::default();
    let failures: Mutex<Vec<(u64, String)>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                return;
            }
            let outcome = run(seed, None);
            let mut hits = hits.lock().unwrap();
            outcome.hits.into_iter().for_each(|(fault, count)| *hits.entry(fault).or_default() += count);
            if let Some(failure) = outcome.failure {
                failures.lock().unwrap().push((seed, format!("{failure:#}")));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min((last - first) as usize);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (hits, mut failures) = (hits.into_inner().unwrap(), failures.into_inner().unwrap());
    println!("{} seeds in {:?}: {hits:?}", last - first, start.elapsed());
    failures.sort();
    failures.iter().take(20).for_each(|(seed, failure)| println!("seed {seed}: {failure}"));
    if let Some((seed, failure)) = failures.first() {
        panic!(
            "{} seeds fail, the first is {seed}: {failure}\nthe same again: scripts/simulate 1 {seed}; with \
             DELTACART_TEST_TRACE=1, what happens in it",
            failures.len()
        );
    }
    let missing: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !hits.contains_key(fault)).collect();
    assert!(last - first < SEEDS || missing.is_empty(), "no seed was hit by {missing:?}");
}

/// A seed gives the same run every time, to the last byte.
#[test]
fn a_seed_is_the_same_again() {
    for seed in 0..20 {
        let [once, again] = [run(seed, None), run(seed, None)];
        assert_eq!((once.trace, once.hits), (again.trace, again.hits), "seed {seed}");
    }
}

/// Every planted bug is found.
#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        let found = (0..SEEDS_OF_A_BUG).find_map(|seed| Some((seed, run(seed, Some(bug)).failure?)));
        let (seed, failure) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?} is found by seed {seed}: {failure:#}");
    }
}
