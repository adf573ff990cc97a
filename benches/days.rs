//! Memory over the days of a shop in which everything is new all the time: it must not keep what has expired.
//!
//! What: the whole pipeline on one worker, with a `--basket-idle` of one day. Every basket has its own user, fills
//! up, and then has no more events. One event in five removes a line again. Every day, a part of the catalogue is
//! replaced. So new baskets, users and items come without end, and the state should be that of one day.
//!
//! Shapes, one row a day: resident memory without that of the program itself, the sizes of the state, and how many
//! items have been forgotten so far. `growth_percent` of the last row compares the mean of the last third of the days
//! with that of the second.
//!
//! ```text
//! cargo bench --bench days -- [--days N] [--events-a-day N] [--items N] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow};
use common::arguments::Arguments;
use common::memory;
use common::programs::{config, params};
use common::random::Random;
use common::rows::{Rows, number};
use deltacart_dataflows::{Action, Event, Millis, Name, Params, Position, StateStats, recommend};
use serde_json::json;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use timely::CommunicationConfig;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::Input;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

const DAY: Millis = 24 * 3_600_000;

/// The events of an epoch.
const EPOCH: u64 = 10_000;

/// The baskets that are filled at the same time, and the lines of each.
const OPEN: usize = 500;
const LINES: u32 = 8;

/// One item in this many is replaced every day.
const REPLACED: usize = 20;

struct Shop {
    random: Random,
    events: u64,
    events_a_day: u64,
    items: usize,
    open: VecDeque<Basket>,
    baskets: u64,
}

/// A basket that is being filled.
struct Basket {
    number: u64,
    lines: u32,
    last: Name,
}

impl Iterator for Shop {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let day = self.events / self.events_a_day;
        if self.open.len() < OPEN {
            self.open.push_back(Basket { number: self.baskets, lines: 0, last: Name::default() });
            self.baskets += 1;
        }
        let place = self.random.below(self.open.len());
        let basket = &mut self.open[place];
        // Low ranks are drawn much more often than high ones.
        let rank = (self.random.share().powi(3) * self.items as f64) as usize;
        let is_removed = basket.lines > 0 && self.random.below(5) == 0;
        let action = if is_removed {
            Action::Remove(basket.last.clone(), None)
        } else {
            basket.lines += 1;
            // The item at this rank of the catalogue. Its name changes every `REPLACED` days, at different days for
            // different ranks.
            let since = (day as usize + rank) / REPLACED;
            basket.last = format!("item {rank} since {since}").into();
            Action::Add(basket.last.clone(), 1)
        };
        let event = Event {
            position: Position { offset: self.events, ..Position::default() },
            basket: format!("basket {}", basket.number).into(),
            user: Some(format!("user {}", basket.number).into()),
            time: DAY + self.events * DAY / self.events_a_day,
            action,
        };
        if basket.lines == LINES {
            self.open.swap_remove_back(place);
        }
        self.events += 1;
        Some(event)
    }
}

/// The measurements at the end of a day.
struct Evening {
    resident: u64,
    seconds: f64,
    stats: StateStats,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let days = arguments.value("--days", 30u64)?;
    let events_a_day = arguments.value("--events-a-day", 300_000u64)?;
    let items = arguments.value("--items", 20_000usize)?;
    let json: Option<PathBuf> = arguments.option("--json")?;
    arguments.end()?;
    let params = Params { basket_idle: NonZeroU64::new(DAY), ..params() };
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| {
        let before = memory::resident();
        let open = VecDeque::with_capacity(OPEN + 1);
        let mut shop = Shop { random: Random::new(7), events: 0, events_a_day, items, open, baskets: 0 };
        let mut input = InputHandle::new();
        let (probe, state_stats) = worker.dataflow(|scope| {
            let recommendations = recommend(scope.input_from(&mut input), params);
            (recommendations.lists.probe().0, recommendations.state_stats)
        });
        let (mut epoch, start) = (0, Instant::now());
        let evening = |_day: u64| {
            for events in (0..events_a_day).step_by(EPOCH as usize) {
                for event in shop.by_ref().take(EPOCH.min(events_a_day - events) as usize) {
                    input.send(event);
                }
                epoch += 1;
                input.advance_to(epoch);
                worker.step_while(|| probe.less_than(&epoch));
            }
            let resident = memory::resident().saturating_sub(before);
            Evening { resident, seconds: start.elapsed().as_secs_f64(), stats: state_stats.collect() }
        };
        (1..=days).map(evening).collect::<Vec<_>>()
    })
    .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    let evenings = threads.join().pop().context("a worker")?;
    let evenings = evenings.map_err(|error| anyhow!("a worker stopped: {error}"))?;

    let third = evenings.len() / 3;
    let mean = |evenings: &[Evening]| {
        evenings.iter().map(|evening| evening.resident as f64).sum::<f64>() / evenings.len().max(1) as f64
    };
    let growth = mean(&evenings[2 * third..]) / mean(&evenings[third..2 * third]) - 1.0;
    let mut rows = Rows::default();
    for (day, Evening { resident, seconds, stats }) in (1..).zip(&evenings) {
        let megabytes = |bytes: u64| number(bytes as f64 / 1e6);
        let mut figures = vec![
            ("seconds", number(*seconds)),
            ("resident_mb", megabytes(*resident)),
            ("baskets", json!(stats.baskets)),
            ("lines", json!(stats.lines)),
            ("users", json!(stats.users)),
            ("items", json!(stats.items)),
            ("items_forgotten", json!(stats.items_forgotten)),
            ("ledger_mb", megabytes(stats.ledger_bytes)),
            ("names_mb", megabytes(stats.names_bytes)),
            ("store_mb", megabytes(stats.index_bytes)),
            ("rows_mb", megabytes(stats.rows_bytes)),
        ];
        if day == days {
            figures.push(("growth_percent", number(growth * 100.0)));
        }
        rows.push(format!("days/{day:04}"), figures);
    }
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}
