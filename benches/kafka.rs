//! Latency through a real Kafka: from the moment an event is due to the moment a consumer has the record of its list.
//!
//! What: the job's own binary (`deltacart run`) between two topics of a real broker. The whole workload is sent
//! through the topic first, until the job has committed all of it. Then events come at a fixed rate
//! (`common/continuation.rs`). Each is sent when it is due, whatever the broker and the job do meanwhile, and a
//! consumer reads the topic of lists.
//!
//! In general one cannot tell which list follows from which event, so some events are *marked*. In a marked pair, two
//! items that occur nowhere else are added to their own basket; the second must cause its list. Marked events are in
//! the same partitions and epochs as all others, so their latency is that of any event at that time. It runs from
//! when the second event of the pair was *due*, not from when it was sent, until the consumer has the record.
//!
//! Shapes: one worker, and the tick of `--tick`. `--properties` of librdkafka apply to the job and to the clients
//! here; the default is to send at once (`linger.ms=0`, `socket.nagle.disable=true`). The row is
//! `kafka/WORKLOAD/TICKms/RATE/MODE`, the run with the median p99 of `--runs`, each with its own topics and job. The
//! modes take turns:
//! - `exactly-once`, in transactions of whole epochs;
//! - `at-least-once`;
//! - `snapshots`, exactly once with a snapshot every second, so that nearly every event comes while one is taken.
//!
//! A row with other `--partitions`, `--properties`, `--lists-every` or `--flags` than the default names them behind the
//! mode.
//!
//! `idle_cpu_percent` is the share of a core that the job used, with all of its state, in the `--idle` seconds after
//! the last event. Then the job is killed and started again, and `ready_s` is the time until `/readyz` reports that it
//! is ready. By then, it has taken the output over, restored all of its state from the input or from a snapshot, and
//! published the difference. `replay_peak_mb` is its peak of memory until then, and `replay_steady_mb` its memory
//! after `--idle` more seconds. With `--idle 0`, the job is not started again.
//!
//! Producer, broker, job and consumer share the machine.
//!
//! ```text
//! cargo bench --bench kafka -- [--workload journey] [--modes exactly-once,at-least-once,snapshots] [--rate N]
//!     [--tick MS] [--ahead N] [--lists-every TIME] [--flags FLAG,…] [--seconds N] [--warm-up N] [--marked N]
//!     [--properties NAME=VALUE,…] [--brokers HOST:PORT] [--partitions N] [--idle SECONDS] [--lines N] [--runs N]
//!     [--data DIR] [--json FILE]
//! ```
//! Without `--brokers`, the benchmark starts a broker by `scripts/kafka` and stops it at the end.

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::arguments::Arguments;
use common::broker::{Broker, PATIENCE, wait_for_commits};
use common::continuation::{Continuation, Removes};
use common::latencies::{Latencies, Summary};
use common::rows::{Figures, Rows, number};
use common::workload::{Change, basket_name, item_name};
use common::{children, memory, workload};
use deltacart::output::{TopicSpec, ensure_topic};
use deltacart_inputs::kafka::{KafkaSettings, Role};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

/// The default of `--partitions`.
const PARTITIONS: u32 = 4;

/// The default of `--properties`: everything is sent at once.
const PROPERTIES: &str = "linger.ms=0,socket.nagle.disable=true";

struct Options {
    rate: f64,
    tick_ms: u64,
    /// The most open epochs. Without it, the job's default.
    ahead: Option<u64>,
    /// The shortest time between two changes of a list, `--lists-every`. Without it, lists are published with every
    /// epoch.
    lists_every: Option<String>,
    /// More flags of the job, such as `--max-epoch-events=100000`.
    flags: Vec<String>,
    seconds: f64,
    warm_up: f64,
    /// How long the idle job is measured. If it is zero, the job is not started again.
    idle: Duration,
    /// One event in this many is the second of a marked pair.
    marked: usize,
    partitions: u32,
    brokers: String,
    /// Properties of librdkafka, for the job and for the clients here.
    properties: Vec<String>,
}

impl Options {
    /// What is not as by default, for the name of the row.
    fn variant(&self) -> String {
        let mut variant = String::new();
        if self.partitions != PARTITIONS {
            variant += &format!("+{} partitions", self.partitions);
        }
        if self.properties.join(",") != PROPERTIES {
            variant += &format!("+{}", self.properties.join(" "));
        }
        if let Some(every) = &self.lists_every {
            variant += &format!("+lists every {every}");
        }
        variant + &self.flags.iter().map(|flag| format!("+{flag}")).collect::<String>()
    }
}

/// The delivery and the snapshots of the job.
#[derive(Clone, Copy)]
enum Mode {
    ExactlyOnce,
    AtLeastOnce,
    Snapshots,
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Mode> {
        Ok(match text {
            "exactly-once" => Mode::ExactlyOnce,
            "at-least-once" => Mode::AtLeastOnce,
            "snapshots" => Mode::Snapshots,
            _ => bail!("--modes {text}: want exactly-once, at-least-once or snapshots"),
        })
    }
}

#[derive(Default)]
struct Outcome {
    load_seconds: f64,
    /// Records that the consumer read while events were sent and shortly after, and their bytes.
    records: u64,
    bytes: u64,
    /// Marked events after the warm-up whose lists the consumer never got.
    lost: usize,
    latencies: Summary,
    job_peak: u64,
    idle_cpu_percent: Option<f64>,
    snapshots: Option<Snapshots>,
    replay: Option<Replay>,
}

/// The second start of the job, which reads all of its input again: the seconds until it is ready, the peak of its
/// memory until then, and its memory a while later.
struct Replay {
    ready_seconds: f64,
    peak: u64,
    steady: u64,
}

/// The number of snapshots, the mean seconds of one, and the bytes of the last.
struct Snapshots {
    count: f64,
    seconds: f64,
    bytes: f64,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let name: String = arguments.value("--workload", "journey".to_owned())?;
    let lines: usize = arguments.value("--lines", usize::MAX)?;
    let runs: usize = arguments.value("--runs", 5)?;
    let brokers: Option<String> = arguments.option("--brokers")?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    let modes = arguments.list("--modes", "exactly-once,at-least-once,snapshots")?;
    let idle: f64 = arguments.value("--idle", 10.0)?;
    let mut options = Options {
        rate: arguments.value("--rate", 10_000.0)?,
        tick_ms: arguments.value("--tick", 5)?,
        ahead: arguments.option("--ahead")?,
        lists_every: arguments.option("--lists-every")?,
        flags: arguments.list("--flags", "")?,
        seconds: arguments.value("--seconds", 30.0)?,
        warm_up: arguments.value("--warm-up", 5.0)?,
        idle: Duration::from_secs_f64(idle),
        marked: arguments.value("--marked", 50)?,
        partitions: arguments.value("--partitions", PARTITIONS)?,
        brokers: String::new(),
        properties: arguments.list("--properties", PROPERTIES)?,
    };
    arguments.end()?;
    ensure!(
        options.marked > 1 && runs > 0 && options.rate > 0.0,
        "--marked is above 1, --runs and --rate above 0"
    );
    let Some(mut state) = workload::make(&name, &data)? else { return Ok(()) };
    state.truncate(lines);
    let broker = Broker::reach(brokers)?;
    options.brokers.clone_from(&broker.brokers);

    let mut outcomes: Vec<Vec<Outcome>> = modes.iter().map(|_mode| Vec::new()).collect();
    for run in 1..=runs {
        for (mode, outcomes) in modes.iter().zip(&mut outcomes) {
            eprintln!("run {run} of {runs}: {mode}");
            outcomes.push(measure(&state, &options, mode.parse()?)?);
        }
    }
    let mut rows = Rows::default();
    for (mode, outcomes) in modes.iter().zip(outcomes) {
        let outcome = children::median(outcomes, |run| run.latencies.p99);
        let row = format!("kafka/{name}/{}ms/{}/{mode}{}", options.tick_ms, options.rate, options.variant());
        rows.push(row, figures(outcome, &options, state.len()));
    }
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

fn figures(outcome: Outcome, options: &Options, lines: usize) -> Figures {
    let sent = options.rate * (options.warm_up + options.seconds);
    let mut figures = vec![
        ("events_per_s", number(options.rate)),
        ("load_events_per_s", number(lines as f64 / outcome.load_seconds)),
        ("records_per_event", number(outcome.records as f64 / sent)),
        ("bytes_per_event", number(outcome.bytes as f64 / sent)),
        ("job_peak_mb", number(outcome.job_peak as f64 / 1e6)),
        ("lost", json!(outcome.lost)),
    ];
    figures.extend(outcome.idle_cpu_percent.map(|percent| ("idle_cpu_percent", number(percent))));
    if let Some(Replay { ready_seconds, peak, steady }) = outcome.replay {
        figures.extend([
            ("ready_s", number(ready_seconds)),
            ("replay_peak_mb", number(peak as f64 / 1e6)),
            ("replay_steady_mb", number(steady as f64 / 1e6)),
        ]);
    }
    if let Some(Snapshots { count, seconds, bytes }) = outcome.snapshots {
        figures.extend([
            ("snapshots", number(count)),
            ("snapshot_s", number(seconds)),
            ("snapshot_mb", number(bytes / 1e6)),
        ]);
    }
    figures.extend(outcome.latencies.figures());
    figures
}

/// The running job. It is killed when this is dropped.
struct Job {
    process: Child,
    /// The address of its metrics.
    address: SocketAddr,
}

impl Job {
    fn start(options: &Options, mode: Mode, names: &Names) -> Result<Job> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
        command.args(["run", "--brokers", &options.brokers, "--group", &names.group]);
        command.args(options.properties.iter().flat_map(|property| ["-X", property]));
        command.arg("--input").arg(format!("kafka:{}", names.input));
        command.arg("--output").arg(format!("kafka:{}", names.output));
        command.args(["--epoch", &format!("{}ms", options.tick_ms), "--metrics", &address.to_string()]);
        if let Some(epochs) = options.ahead {
            command.args(["--max-epochs-ahead", &epochs.to_string()]);
        }
        if let Some(every) = &options.lists_every {
            command.args(["--lists-every", every]);
        }
        command.args(&options.flags);
        if let Mode::AtLeastOnce = mode {
            command.args(["--delivery", "at-least-once"]);
        }
        if let Mode::Snapshots = mode {
            command.arg("--state").arg(&names.state).args(["--snapshot-every", "1s"]);
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        Ok(Job { process: process.context("cannot start the job")?, address })
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    /// The HTTP response to a request, with its head.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        // The job does not listen at once.
        while !self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
            ensure!(self.process.try_wait()?.is_none(), "the job has ended");
            ensure!(start.elapsed() < PATIENCE, "the job is not ready within {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The metrics of the job's snapshots. `None` if it has taken none.
    fn snapshots(&self) -> Result<Option<Snapshots>> {
        let page = self.get("/metrics")?;
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
        };
        let count = value("deltacart_snapshot_seconds_count");
        let seconds = value("deltacart_snapshot_seconds_sum") / count;
        Ok((count > 0.0).then(|| Snapshots { count, seconds, bytes: value("deltacart_snapshot_bytes") }))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// The names that only one run uses.
struct Names {
    input: String,
    output: String,
    group: String,
    state: PathBuf,
}

fn measure(state: &[Change], options: &Options, mode: Mode) -> Result<Outcome> {
    let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let [input, output, group] = ["events", "lists", "group"].map(|what| format!("bench-{what}-{unique:x}"));
    let folder = tempfile::tempdir()?;
    let names = Names { input, output, group, state: folder.path().join("state") };
    let Names { input, output, group, .. } = &names;
    let mut settings = KafkaSettings::new(options.brokers.clone());
    for property in &options.properties {
        let (name, value) = property.split_once('=').context("--properties wants NAME=VALUE,…")?;
        settings.set(name, value)?;
    }
    for (name, compacted) in [(input, false), (output, true)] {
        ensure_topic(&settings, &TopicSpec { name, partitions: options.partitions, compacted })?;
    }
    let producer: BaseProducer = settings.client_config(Role::Producer).create()?;
    let job = Job::start(options, mode, &names)?;
    let start = Instant::now();
    for &change in state {
        send(&producer, input, &basket_name(change.basket), &event(change));
    }
    producer.flush(PATIENCE)?;
    wait_for_commits(&settings, input, group, options.partitions, state.len() as i64)?;
    let load_seconds = start.elapsed().as_secs_f64();

    let consumer = lists(&settings, output, options.partitions)?;
    let mut coming = Continuation::new(state, Removes::Any(0.2));
    let events = (options.rate * (options.warm_up + options.seconds)) as usize;
    let changes: Vec<Change> = coming.by_ref().take(events).collect();
    let is_over = AtomicBool::new(false);
    let start = Instant::now();
    let seen = thread::scope(|scope| {
        let seen = scope.spawn(|| watch(&consumer, events, options, start, &is_over));
        send_at_rate(&producer, input, &changes, options, start);
        thread::sleep(AFTERWARDS);
        is_over.store(true, Ordering::Relaxed);
        seen.join().map_err(|_panic| anyhow::anyhow!("the consumer panicked"))
    })??;
    let before = memory::processor_seconds(job.id());
    thread::sleep(options.idle);
    let idle = memory::processor_seconds(job.id()) - before;
    let (job_peak, snapshots) = (memory::peak_of(job.id()), job.snapshots()?);
    drop(job);
    let has_idled = !options.idle.is_zero();
    let replay = has_idled.then(|| replay(options, mode, &names)).transpose()?;
    let idle_cpu_percent = has_idled.then(|| idle / options.idle.as_secs_f64() * 100.0);
    Ok(Outcome { load_seconds, job_peak, idle_cpu_percent, snapshots, replay, ..seen })
}

/// Starts the job again.
fn replay(options: &Options, mode: Mode, names: &Names) -> Result<Replay> {
    let start = Instant::now();
    let mut job = Job::start(options, mode, names)?;
    job.wait_until_ready()?;
    let (ready_seconds, peak) = (start.elapsed().as_secs_f64(), memory::peak_of(job.id()));
    thread::sleep(options.idle);
    Ok(Replay { ready_seconds, peak, steady: memory::resident_of(job.id()) })
}

/// The time to wait for lists after the last event.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// The event of a change, in the plain JSON format.
fn event(change: Change) -> String {
    let kind = if change.comes { "add" } else { "remove" };
    let (basket, item) = (basket_name(change.basket), item_name(change.item));
    format!(r#"{{"event":"{kind}","basket":"{basket}","item":"{item}"}}"#)
}

fn send(producer: &BaseProducer, topic: &str, key: &str, value: &str) {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    while let Err((_full, back)) = producer.send(record) {
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    producer.poll(Duration::ZERO);
}

/// Sends each event when it is due. Of every `marked` events, the last two are a marked pair.
fn send_at_rate(producer: &BaseProducer, topic: &str, changes: &[Change], options: &Options, start: Instant) {
    for (number, &change) in changes.iter().enumerate() {
        let due = start + Duration::from_secs_f64(number as f64 / options.rate);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        let pair = number / options.marked;
        let half = match options.marked - number % options.marked {
            1 => Some("b"),
            2 => Some("a"),
            _ => None,
        };
        match half {
            None => send(producer, topic, &basket_name(change.basket), &event(change)),
            Some(half) => {
                let value =
                    format!(r#"{{"event":"add","basket":"marked-{pair}","item":"marked-{pair}-{half}"}}"#);
                send(producer, topic, &format!("marked-{pair}"), &value);
            }
        }
    }
}

/// Reads lists until `is_over`, and measures the latencies of marked events.
fn watch(
    consumer: &BaseConsumer,
    events: usize,
    options: &Options,
    start: Instant,
    is_over: &AtomicBool,
) -> Result<Outcome> {
    let pairs = events / options.marked;
    let first = (options.rate * options.warm_up) as usize / options.marked;
    let mut seen = vec![false; pairs];
    let mut latencies = Latencies::default();
    let (mut records, mut bytes) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(10)).transpose()? else { continue };
        let arrived = start.elapsed();
        let key = message.key().unwrap_or_default();
        records += 1;
        bytes += (key.len() + message.payload_len()) as u64;
        let pair = key.strip_prefix(b"marked-").and_then(|rest| rest.strip_suffix(b"-b"));
        let pair = pair.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        if let Some(pair) = pair.filter(|&pair| pair < pairs && !std::mem::replace(&mut seen[pair], true))
            && pair >= first
        {
            let second = (pair + 1) * options.marked - 1;
            latencies.push(arrived.saturating_sub(Duration::from_secs_f64(second as f64 / options.rate)));
        }
    }
    let lost = seen[first.min(pairs)..].iter().filter(|seen| !**seen).count();
    let latencies = latencies.summary();
    Ok(Outcome { records, bytes, lost, latencies, ..Outcome::default() })
}

/// A consumer of all partitions of the topic of lists, from their current ends.
fn lists(settings: &KafkaSettings, topic: &str, partitions: u32) -> Result<BaseConsumer> {
    let mut config = settings.client_config(Role::Consumer);
    let consumer: BaseConsumer =
        config.set("group.id", "bench-reader").set("enable.partition.eof", "false").create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        let (_begin, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        assigned.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&assigned)?;
    Ok(consumer)
}
