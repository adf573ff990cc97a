//! Forgetting a user: the time from the request to the last changed list.
//!
//! What: the whole pipeline on one worker, with the baskets of `--users` users, one basket each. A basket has 1 to 15
//! items, 8 in the mean, of `--items` with Zipf's exponent 1. Among them are `--large` users whose basket has
//! `--large-items` different items. This is the hardest shape, because all of these items share the basket. Then the
//! large users are forgotten (`ForgetUser`), one after the other, each in its own epoch.
//!
//! Shapes: the row `forget/USERS` has the percentiles over all requests. The latency of a request is the time from
//! sending its event until the records of all changed lists are encoded.
//!
//! ```text
//! cargo bench --bench forget -- [--users N] [--items N] [--large N] [--large-items N] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow, ensure};
use common::arguments::Arguments;
use common::intake::EventInput;
use common::latencies::{Latencies, Summary};
use common::observe::{Seen, Watch, observe};
use common::programs::{config, params};
use common::random::Random;
use common::rows::{Rows, number};
use common::workload::{basket_name, item_name};
use common::{children, memory};
use deltacart_dataflows::{Action, Event, Name, Position, recommend};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;
use timely::CommunicationConfig;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Case {
    users: u32,
    items: u32,
    large: u32,
    large_items: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    lines: u64,
    load_seconds: f64,
    /// Resident bytes after loading.
    loaded: u64,
    records: u64,
    latencies: Summary,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        return children::report(&measure(case)?);
    }
    let case = Case {
        users: arguments.value("--users", 1_000_000)?,
        items: arguments.value("--items", 100_000)?,
        large: arguments.value("--large", 200)?,
        large_items: arguments.value("--large-items", 500)?,
    };
    let json: Option<PathBuf> = arguments.option("--json")?;
    arguments.end()?;
    ensure!(case.large > 0 && case.large <= case.users, "some users are large, not more than there are");
    ensure!(case.large_items <= case.items / 4, "a large basket has at most a quarter of all items");
    let outcome: Outcome = children::measure(&case)?;
    let mut figures = vec![
        ("lines", json!(outcome.lines)),
        ("load_s", number(outcome.load_seconds)),
        ("loaded_mb", number(outcome.loaded as f64 / 1e6)),
        ("items_forgotten", json!(case.large_items)),
        ("records_per_user", number(outcome.records as f64 / f64::from(case.large))),
    ];
    figures.extend(outcome.latencies.figures());
    let mut rows = Rows::default();
    rows.push(format!("forget/{}", case.users), figures);
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

/// The events of an epoch while the state is loaded.
const LOAD_EPOCH: usize = 500_000;

/// The most items of a basket that is not large. The mean is half of this plus one half.
const SMALL_ITEMS_MAX: usize = 15;

fn measure(case: Case) -> Result<Outcome> {
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| forget(worker, case))
        .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    threads.join().pop().context("a worker")?.map_err(|error| anyhow!("a worker stopped: {error}"))
}

fn forget(worker: &mut Worker, case: Case) -> Outcome {
    let before = memory::resident();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut input = EventInput::new();
    let probe = worker.dataflow(|scope| {
        observe(recommend(scope.input_from(&mut input), params()).lists, Watch::Encode, &seen)
    });
    let mut shop = Shop { case, popularity: popularity(case.items), random: Random::new(6), lines: 0 };

    let mut load_seconds = 0.0;
    let mut events = Vec::new();
    for user in 0..case.users {
        shop.fill_basket(user, &mut events);
        if events.len() >= LOAD_EPOCH || user + 1 == case.users {
            load_seconds += epoch(worker, &mut input, &probe, &mut events).as_secs_f64();
        }
    }
    let loaded = memory::resident().saturating_sub(before);

    let records_before = seen.borrow().records;
    let mut latencies = Latencies::default();
    for large in 0..case.large {
        events.push(shop.event(shop.large_user(large), Action::ForgetUser));
        latencies.push(epoch(worker, &mut input, &probe, &mut events));
    }
    let records = seen.borrow().records - records_before;
    Outcome { lines: shop.lines, load_seconds, loaded, records, latencies: latencies.summary() }
}

/// Sends an epoch and waits until it is complete. Returns the time that it took.
fn epoch(
    worker: &mut Worker,
    input: &mut EventInput,
    probe: &ProbeHandle<u64>,
    events: &mut Vec<Event>,
) -> std::time::Duration {
    let next = input.time() + 1;
    let mut events = std::mem::take(events);
    let start = Instant::now();
    input.send_batch(&mut events);
    input.advance_to(next);
    worker.step_while(|| probe.less_than(&next));
    start.elapsed()
}

/// The users, their baskets and the items.
struct Shop {
    case: Case,
    /// For each item, the sum of the popularities up to it, for drawing an item at random.
    popularity: Vec<f64>,
    random: Random,
    lines: u64,
}

impl Shop {
    fn fill_basket(&mut self, user: u32, events: &mut Vec<Event>) {
        let size = match self.is_large(user) {
            true => self.case.large_items as usize,
            false => 1 + self.random.below(SMALL_ITEMS_MAX),
        };
        let mut items = BTreeSet::new();
        while items.len() < size {
            items.insert(self.item());
        }
        self.lines += items.len() as u64;
        events.extend(items.into_iter().map(|item| self.event(user, Action::Add(item_name(item), 1))));
    }

    /// The number of a large user. Large users are spread evenly among all users.
    fn large_user(&self, large: u32) -> u32 {
        (u64::from(large) * u64::from(self.case.users) / u64::from(self.case.large)) as u32
    }

    fn is_large(&self, user: u32) -> bool {
        let large =
            (u64::from(user) * u64::from(self.case.large)).div_ceil(u64::from(self.case.users)) as u32;
        large < self.case.large && self.large_user(large) == user
    }

    fn item(&mut self) -> u32 {
        let all = self.popularity.last().copied().unwrap_or_default();
        let picked = self.random.share() * all;
        self.popularity.partition_point(|&sum| sum <= picked) as u32
    }

    fn event(&self, user: u32, action: Action<Name>) -> Event {
        let is_forget = matches!(action, Action::ForgetUser);
        Event {
            position: Position { offset: self.lines, ..Position::default() },
            basket: if is_forget { Name::default() } else { basket_name(user) },
            user: Some(Name::from(format!("u{user}"))),
            time: 0,
            action,
        }
    }
}

/// The running sums of 1 / rank.
fn popularity(items: u32) -> Vec<f64> {
    let weights = (1..=items).map(|rank| 1.0 / f64::from(rank));
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}
