//! The command `deltacart demo`: shop, job and consumer in one process, without any set-up.
//!
//! ```text
//!  a live shop ──▶ topic carts ──▶ the job ──▶ topic recommendations ──▶ a reader ──▶ the terminal
//!                  └───────────── librdkafka's mock broker ──────────┘
//! ```
//!
//! The shop, the job and the reader are those of `deltacart generate`, `run` and `top`. They exchange data through
//! topics only.

mod broker;
mod reader;
mod screen;
#[cfg(test)]
mod tests;

use crate::files::ExistingFile;
use crate::generate::{GenerateOptions, Generated, generate_watched};
use crate::job::{AheadLimits, Cluster, Cut, Delivery, Destination, Input, Job, Outputs, Streams};
use crate::launch::run_prepared;
use crate::output::{Envelope, OutputOptions, RowKind};
use crate::process::Handle;
use crate::serve::{Kinds, ServeOptions, Serving, serve_job};
use crate::summary::{Counter, Summary};
use anyhow::{Context, Result, anyhow};
use broker::{Broker, CARTS, PARTITIONS, RECOMMENDATIONS};
use deltacart_dataflows::{Algorithm, AnswerParams, Evidence, ListParams, Measure, Params, Scoring};
use deltacart_inputs::generate::ShopSettings;
use deltacart_inputs::kafka::{KafkaSettings, StartFrom};
use deltacart_inputs::{DecodeOptions, Format};
use reader::Reader;
use screen::{Block, Screen};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;

/// The options of `deltacart demo`. The defaults are those of the command.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoOptions {
    /// The seconds after which the demo ends. Without it, the demo ends when it is stopped.
    pub seconds: Option<u64>,
    /// The seed of the shop.
    pub seed: u64,
    /// The rate in events a second, 1 to [`DemoOptions::RATE_MAX`].
    pub rate: f64,
    /// The most entries of a list, 1 to [`DemoOptions::K_MAX`].
    pub k: usize,
    /// Whether the output is a terminal. A terminal gets colours, and each block replaces the one before.
    pub is_terminal: bool,
    /// How the lists are served over HTTP. `None` shows them on the terminal only.
    pub serve: Option<ServeOptions>,
}

/// Options that are invalid. The fault lies with the command line, not with the demo.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DemoError {
    /// The rate is out of range: the mock broker cannot hold more.
    #[error("a rate of {0} events a second is out of range: --rate takes 1 to {max}", max = DemoOptions::RATE_MAX)]
    Rate(f64),
    /// A list has no entries, or more than fit in a line.
    #[error("a list of {0} items is out of range: --top-k takes 1 to {max}", max = DemoOptions::K_MAX)]
    ListLength(usize),
}

/// The numbers of one demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoSummary {
    /// The number of events that the shop sent, their bytes and the time.
    pub shop: Generated,
    /// The summary of the job.
    pub job: Summary,
    /// The list changes that the reader read.
    pub changes: u64,
    /// The lists that were shown. A list counts each time that it is shown.
    pub shown: u64,
}

/// The items of the shop. They are few, so that a viewer sees the same ones again.
const ITEMS: u32 = 200;
const USERS: u32 = 500;
/// Sessions that are open at a time. Each has an event every half second at the default rate, so that baskets fill
/// and end while one watches.
const OPEN_SESSIONS: u32 = 100;
/// The shop's `focus`, which is higher than a real shop's, so that lists soon show which items go together.
const FOCUS: f64 = 0.95;
/// 43 removals for 100 additions: 30 % of the events that change a cart.
const REMOVES_PER_ADD: f64 = 0.43;
/// Events that are sent at the start at once, so that the first second has lists to show.
const HEAD_START: u64 = 5_000;

const WORKERS: usize = 2;
const EPOCH: Duration = Duration::from_millis(50);
/// The limits on work ahead. They are far above what the rate brings in a few epochs.
const LIMITS: AheadLimits = AheadLimits { epochs: 2, epoch_events: 100_000, epoch_bytes: 64 << 20 };
const BASKET_ITEMS_MAX: usize = 1_000;
const SCORE_DIGITS: u32 = 3;
/// The most questions that wait for their epoch.
const QUESTIONS_MAX: usize = 1024;
/// How long a cart is open, in milliseconds of event time: half an hour.
const OPEN_FOR: NonZeroU64 = NonZeroU64::new(1_800_000).expect("it is not zero");

/// The time between two blocks, and the lists of a block: as much as one can follow, on a terminal of any height.
const BLOCK_EVERY: Duration = Duration::from_secs(1);
const BLOCK_LISTS: usize = 8;

/// The pause when there was nothing to read.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest time that the job may take to shut down.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// The longest time that the reader waits for the last records of the job.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

impl DemoOptions {
    /// The fastest rate in events a second. The job keeps up with it easily on one core, and the mock broker, which
    /// keeps little, does not drop records before they are read.
    pub const RATE_MAX: f64 = 5_000.0;
    /// The most entries of a list that fit in a line.
    pub const K_MAX: usize = 20;

    /// Checks the options without starting anything.
    ///
    /// # Errors
    /// When an option is out of range. The message names the flag to change.
    pub fn validate(&self) -> Result<(), DemoError> {
        if !(1.0..=Self::RATE_MAX).contains(&self.rate) {
            return Err(DemoError::Rate(self.rate));
        }
        match self.k {
            1..=Self::K_MAX => Ok(()),
            _ => Err(DemoError::ListLength(self.k)),
        }
    }
}

impl Default for DemoOptions {
    fn default() -> Self {
        DemoOptions { seconds: None, seed: 1, rate: 200.0, k: 4, is_terminal: false, serve: None }
    }
}

/// Runs the demo and shows it on `out`, until its time is over or `stop` is set.
///
/// If the reader of `out` has closed it, the demo ends without an error.
///
/// # Errors
/// [`DemoError`] when the options are invalid. Other errors when the broker, the shop or the job cannot start or shut
/// down. A worker of the job that fails ends the process, as in every run.
pub fn demo(options: &DemoOptions, stop: &AtomicBool, out: &mut dyn Write) -> Result<DemoSummary> {
    options.validate()?;
    // The broker is declared first, so that it is dropped last: see `Broker`.
    let broker = Broker::start()?;
    let settings = broker.settings()?;
    let mut reader = Reader::connect(&settings)?;
    let mut screen = Screen::new(out, options.is_terminal);
    let running = Running::start(options, settings)?;
    let events = Arc::clone(&running.events);
    let mut show = Show { reader: &mut reader, screen: &mut screen, events, start: Instant::now(), shown: 0 };
    let introduction = introduction(options, &broker.address(), running.page);
    let watched = show.watch(options, &introduction, &|| stop.load(Ordering::Relaxed) || running.has_ended());
    // The shop and the job are shut down in order, whether showing succeeded or failed.
    let (shop, job) = running.end()?;
    match watched.and_then(|()| show.finish(&job)) {
        Err(error) if !is_broken_pipe(&error) => return Err(error),
        _ => {}
    }
    let shown = show.shown;
    Ok(DemoSummary { shop, job, changes: reader.held().records(), shown })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The shop and the job while they run, each on its own thread.
struct Running {
    shop: JoinHandle<Result<Generated>>,
    job: JoinHandle<Result<Option<Summary>>>,
    stop_shop: Arc<AtomicBool>,
    stop_job: Arc<AtomicBool>,
    /// The events that the shop has sent.
    events: Arc<AtomicU64>,
    /// Where the page is, if there is one.
    page: Option<SocketAddr>,
}

impl Running {
    fn start(options: &DemoOptions, settings: KafkaSettings) -> Result<Running> {
        let (stop_shop, stop_job) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let events = Arc::new(AtomicU64::new(0));
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let (job, handle) = (job(options, settings.clone()), Handle::new(Arc::clone(&stop_job)));
        let served = options.serve.clone().zip(job.serving.as_ref());
        let page = served.map(|(serve, serving)| serve_job(serve, serving, handle.meter())).transpose()?;
        // The mock answers no questions about its topics, and they need no preparation.
        let job =
            named("demo-job").spawn(move || run_prepared(job, &handle)).context("no thread for the job")?;
        let (generate, stop, sent) = (shop(options, settings), Arc::clone(&stop_shop), Arc::clone(&events));
        let shop = named("demo-shop").spawn(move || {
            generate_watched(&generate, &stop, &mut |events| sent.store(events, Ordering::Relaxed))
        });
        let shop = shop.context("no thread for the shop")?;
        Ok(Running { shop, job, stop_shop, stop_job, events, page })
    }

    /// Whether the shop or the job has ended without a request to stop.
    fn has_ended(&self) -> bool {
        self.shop.is_finished() || self.job.is_finished()
    }

    /// Shuts down the shop, then the job.
    fn end(self) -> Result<(Generated, Summary)> {
        self.stop_shop.store(true, Ordering::Relaxed);
        let shop = self.shop.join();
        self.stop_job.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + END_PATIENCE;
        while !self.job.is_finished() {
            if Instant::now() >= deadline {
                return Err(anyhow!("the job did not end within {} s", END_PATIENCE.as_secs()));
            }
            thread::sleep(PAUSE);
        }
        let job = self.job.join().map_err(|_panic| anyhow!("the job panicked"))?;
        let shop = shop.map_err(|_panic| anyhow!("the shop panicked"))?;
        let job = job?.context("the job ended without a summary")?;
        Ok((shop?, job))
    }
}

fn shop(options: &DemoOptions, settings: KafkaSettings) -> GenerateOptions {
    let shop = ShopSettings {
        seed: options.seed,
        items: ITEMS,
        users: USERS,
        open_sessions: OPEN_SESSIONS,
        focus: FOCUS,
        removes_per_add: REMOVES_PER_ADD,
        events_per_second: options.rate,
        ..ShopSettings::default()
    };
    GenerateOptions {
        shop,
        output: Destination::Topic(CARTS.to_owned()),
        kafka: Some(settings),
        partitions: PARTITIONS,
        rate: Some(options.rate),
        head_start: HEAD_START,
        existing: ExistingFile::Refuse,
    }
}

fn job(options: &DemoOptions, settings: KafkaSettings) -> Job {
    let scoring = Scoring { digits: SCORE_DIGITS, ..Scoring::new(Measure::Cosine) };
    Job {
        streams: Streams::one(
            Input::Topic {
                name: CARTS.to_owned(),
                from: StartFrom::Beginning,
                until_end: false,
                metadata_refresh: Duration::from_secs(60),
            },
            DecodeOptions::new(Format::Json),
        ),
        params: Params {
            algorithm: Algorithm::Fast,
            lists: ListParams { k: options.k, scoring, scores: true },
            basket_items_max: BASKET_ITEMS_MAX,
            basket_idle: None,
            item_baskets_max: None,
            evidence: Evidence::default(),
            open_for: options.serve.as_ref().map(|_| OPEN_FOR),
            // Of questions; carts and users get no answers.
            answers: options.serve.as_ref().map(|_| AnswerParams {
                carts: 0,
                users: 0,
                ..AnswerParams::default()
            }),
        },
        outputs: Outputs::lists(
            Destination::Topic(RECOMMENDATIONS.to_owned()),
            OutputOptions {
                rows: RowKind::Item,
                envelope: Envelope::Upsert,
                scores: true,
                score_digits: SCORE_DIGITS,
            },
            None,
        ),
        output_partitions: None,
        dead_letters: None,
        cut: Cut::Tick(EPOCH),
        limits: LIMITS,
        prequential: None,
        verify: None,
        cluster: Cluster::of_threads(WORKERS),
        kafka: Some(settings),
        // The mock broker supports no transactions.
        delivery: Delivery::AtLeastOnce,
        existing: ExistingFile::Refuse,
        state: None,
        serving: options.serve.as_ref().map(|_| Serving::new(Kinds::default(), WORKERS, QUESTIONS_MAX)),
    }
}

/// The state of what is read and shown.
struct Show<'a, 'b> {
    reader: &'a mut Reader,
    screen: &'a mut Screen<'b>,
    events: Arc<AtomicU64>,
    start: Instant,
    shown: u64,
}

impl Show<'_, '_> {
    /// Reads lists and shows a block every second, until `is_over` or the time is up.
    fn watch(&mut self, options: &DemoOptions, introduction: &str, is_over: &dyn Fn() -> bool) -> Result<()> {
        self.screen.say(introduction)?;
        let end = options.seconds.map_or(Duration::MAX, Duration::from_secs);
        let mut next_block = BLOCK_EVERY;
        while !is_over() && self.start.elapsed() < end {
            if !self.reader.read()? {
                thread::sleep(PAUSE);
            }
            // A block that is due at the end is left to `finish`.
            if self.start.elapsed() >= next_block && next_block < end {
                self.show_block()?;
                // A terminal that was suspended for a while gets one block, not all that it missed.
                next_block = next_block.max(self.start.elapsed().saturating_sub(BLOCK_EVERY)) + BLOCK_EVERY;
            }
        }
        Ok(())
    }

    /// Reads the last records of the job, and shows the last block and the summary.
    fn finish(&mut self, job: &Summary) -> Result<()> {
        let deadline = Instant::now() + DRAIN_PATIENCE;
        let records = job.tally.get(&Counter::RecordsOut);
        while self.reader.held().records() < records && Instant::now() < deadline {
            if !self.reader.read()? {
                thread::sleep(PAUSE);
            }
        }
        self.show_block()?;
        let missed = records.saturating_sub(self.reader.held().records());
        if missed > 0 {
            self.screen.say(&format!(
                "{missed} list changes were not shown: reading was held up, and this broker keeps little"
            ))?;
        }
        self.screen.say(&format!("\n{job}"))?;
        Ok(())
    }

    fn show_block(&mut self) -> Result<()> {
        let held = self.reader.held();
        let block = Block {
            elapsed: self.start.elapsed(),
            events: self.events.load(Ordering::Relaxed),
            changes: held.records(),
            lists: held.lists().len(),
            changed: held.take_changed().into_iter().take(BLOCK_LISTS).collect(),
        };
        self.screen.show(&block)?;
        self.shown += block.changed.len() as u64;
        Ok(())
    }
}

fn introduction(options: &DemoOptions, broker: &str, page: Option<SocketAddr>) -> String {
    let DemoOptions { rate, k, .. } = options;
    let page = page
        .map(|page| format!("A page of it, with a cart to fill:\n  http://{page}/\n"))
        .unwrap_or_default();
    format!(
        "A made-up shop of {ITEMS} items sends {rate} cart events a second (adds, removes,\n\
         purchases) to the topic {CARTS} of a Kafka broker inside this process. A job of\n\
         {WORKERS} workers keeps, for each item, the {k} items that go with it best (by cosine),\n\
         and sends every list that changes to the topic {RECOMMENDATIONS}. From there come\n\
         the lists below, those that changed last: + entered, − left in the last second.\n\
         \n\
         The same with a broker of yours:\n  \
         deltacart run -b localhost:9092 --input kafka:{CARTS} --output kafka:{RECOMMENDATIONS} -k {k} -w {WORKERS}\n\
         A look at this one from another terminal, as long as it runs:\n  \
         deltacart top -b {broker} --input kafka:{RECOMMENDATIONS} --follow\n\
         {page}"
    )
}
