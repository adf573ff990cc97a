//! Latency of the API: questions to a job while events stream in, look-ups on a replica, and freshness.
//!
//! What: the binary itself. The events of a seeded shop are sent to its standard input: some at once, and then, while
//! it is measured, at a fixed rate. Requests come at a fixed rate too, spread over connections that stay open. The
//! latency of a request runs from when it was *due*, not from when it was sent: a request that waits for the one
//! before it on its connection has waited (open loop).
//!
//! - `questions`: `POST /v1/recommendations` with some items of a basket, answered by `--answer-by`.
//! - `look-ups`: `GET /v1/items/{id}/similar` on `deltacart serve`, which follows the lists of those events through a
//!   pipe.
//! - `freshness`: a pair of items that nobody has is put into a basket, and questions follow each other until one has
//!   the second item. The latency runs from when the events were due to the answer that has them.
//!
//! Job, replica, clients and the sender of events share the machine.
//!
//! ```text
//! cargo bench --bench serve -- [--modes questions,look-ups,freshness] [--questions N] [--look-ups N] [--events N]
//!     [--warm-up N] [--seconds N] [--connections N] [--answer-by WAY] [--tick MS] [--workers N] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, ensure};
use common::arguments::Arguments;
use common::latencies::{Latencies, Summary};
use common::rows::{Figures, Rows};
use deltacart_inputs::generate::{Shop, ShopSettings};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    questions: u64,
    look_ups: u64,
    events: u64,
    warm_up: u64,
    seconds: u64,
    connections: u64,
    answer_by: String,
    tick: u64,
    workers: u64,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let modes = arguments.list("--modes", "questions,look-ups,freshness")?;
    let settings = Settings {
        questions: arguments.value("--questions", 2_000)?,
        look_ups: arguments.value("--look-ups", 20_000)?,
        events: arguments.value("--events", 10_000)?,
        warm_up: arguments.value("--warm-up", 300_000)?,
        seconds: arguments.value("--seconds", 10)?,
        connections: arguments.value("--connections", 32)?,
        answer_by: arguments.value("--answer-by", "baskets".to_owned())?,
        tick: arguments.value("--tick", 2)?,
        workers: arguments.value("--workers", 1)?,
    };
    let json: Option<PathBuf> = arguments.option("--json")?;
    arguments.end()?;
    let mut rows = Rows::default();
    for mode in modes {
        let (name, figures) = match mode.as_str() {
            "questions" => questions(&settings)?,
            "look-ups" => look_ups(&settings)?,
            "freshness" => freshness(&settings)?,
            _ => anyhow::bail!("--modes {mode}: want questions, look-ups or freshness"),
        };
        rows.push(format!("serve/{name}"), figures);
    }
    print!("{}", rows.table());
    rows.write(json.as_deref())
}

/// A process of the binary that serves.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn start(words: &str, stdout: Stdio) -> Result<Served> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
        command.args(words.split_whitespace()).args(["--serve", &address, "--log", "warn"]);
        let process = command.stdin(Stdio::piped()).stdout(stdout).spawn().context("cannot start it")?;
        let served = Served { process, address };
        while TcpStream::connect(&served.address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(served)
    }

    fn job(settings: &Settings, stdout: Stdio) -> Result<Served> {
        let Settings { answer_by, tick, workers, .. } = settings;
        let words = format!("run --input - --answer-by {answer_by} --epoch {tick}ms -w {workers}");
        Served::start(&words, stdout)
    }

    fn records(&self) -> Result<u64> {
        let status = Client::connect(&self.address)?.get("/v1/status")?;
        let status: serde_json::Value = serde_json::from_slice(&status)?;
        status["records"].as_u64().context("no records")
    }

    /// Sends the first events of a shop and waits until they have been read. Returns the others, and where they go.
    fn warm_up(&mut self, count: u64) -> Result<(Events, ChildStdin)> {
        let mut stdin = self.process.stdin.take().context("no input")?;
        let mut events = Events::new()?;
        events.write(count, &mut stdin)?;
        self.wait_for_records(count)?;
        Ok((events, stdin))
    }

    fn wait_for_records(&self, records: u64) -> Result<()> {
        while self.records()? < records {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The events of the shop, as lines.
struct Events(Shop);

impl Events {
    fn new() -> Result<Events> {
        Ok(Events(Shop::new(ShopSettings { events: None, ..ShopSettings::default() })?))
    }

    fn write(&mut self, events: u64, to: &mut impl Write) -> Result<()> {
        let mut lines = Vec::new();
        for event in self.0.by_ref().take(events as usize) {
            event.write_json(&mut lines);
            lines.push(b'\n');
        }
        to.write_all(&lines)?;
        to.flush()?;
        Ok(())
    }
}

/// Events that a thread sends at a fixed rate.
struct Streaming {
    stop: Arc<AtomicBool>,
    sender: thread::JoinHandle<Duration>,
}

impl Streaming {
    fn start(mut events: Events, mut to: ChildStdin, rate: u64) -> Streaming {
        const SLICE: Duration = Duration::from_millis(5);
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let sender = thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), 0);
            let mut late = Duration::ZERO;
            while !ends.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                if due > sent {
                    let behind = Duration::from_secs_f64((due - sent) as f64 / rate as f64);
                    if events.write(due - sent, &mut to).is_err() {
                        break;
                    }
                    (sent, late) = (due, behind);
                }
                thread::sleep(SLICE);
            }
            late
        });
        Streaming { stop, sender }
    }

    /// Sends no more. Returns how late the last events were.
    fn stop(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().map_err(|_panic| anyhow::anyhow!("the sender panicked"))
    }
}

/// A connection that stays open.
struct Client {
    to: TcpStream,
    from: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> Result<Client> {
        let to = TcpStream::connect(address)?;
        to.set_nodelay(true)?;
        Ok(Client { from: BufReader::new(to.try_clone()?), to })
    }

    fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())
    }

    fn ask(&mut self, body: &str) -> Result<Vec<u8>> {
        let length = body.len();
        let head = "POST /v1/recommendations HTTP/1.1\r\nHost: bench\r\nContent-Length:";
        self.send(format!("{head} {length}\r\n\r\n{body}").as_bytes())
    }

    fn send(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.to.write_all(request)?;
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.from.read_line(&mut line)?;
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body)?;
        ensure!(status.contains(" 200 "), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// Sends requests at a fixed rate over connections that stay open.
fn load(
    settings: &Settings,
    address: &str,
    rate: u64,
    request: impl Fn(&mut Client, u64) -> Result<Vec<u8>> + Send + Sync + Clone + 'static,
) -> Result<Summary> {
    let start = Instant::now() + Duration::from_millis(200);
    let askers: Vec<_> = (0..settings.connections)
        .map(|connection| {
            let (address, request) = (address.to_owned(), request.clone());
            let (connections, total) = (settings.connections, rate * settings.seconds);
            thread::spawn(move || -> Result<Latencies> {
                let mut client = Client::connect(&address)?;
                let mut latencies = Latencies::default();
                for number in (connection..total).step_by(connections as usize) {
                    let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    request(&mut client, number)?;
                    latencies.push(due.elapsed());
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut all = Latencies::default();
    for asker in askers {
        all.append(asker.join().map_err(|_panic| anyhow::anyhow!("a client panicked"))??);
    }
    Ok(all.summary())
}

/// The ids of items of the shop, by a number: popular ones more often.
fn items() -> Result<Vec<String>> {
    let mut names = Vec::new();
    let shop = Shop::new(ShopSettings { events: Some(50_000), seed: 9, ..ShopSettings::default() })?;
    for event in shop {
        let mut line = Vec::new();
        event.write_json(&mut line);
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        names.extend(event["item"].as_str().map(str::to_owned));
    }
    Ok(names)
}

fn figures(settings: &Settings, rate: u64, late: Duration, summary: &Summary) -> Figures {
    let mut figures = vec![
        ("rate", json!(rate)),
        ("events_s", json!(settings.events)),
        ("events_late_ms", json!(late.as_millis() as u64)),
        ("p90_ms", common::rows::number(summary.at(0.1))),
    ];
    figures.extend(summary.figures());
    figures
}

fn questions(settings: &Settings) -> Result<(String, Figures)> {
    let mut job = Served::job(settings, Stdio::null())?;
    let (events, stdin) = job.warm_up(settings.warm_up)?;
    let streaming = Streaming::start(events, stdin, settings.events);
    let items = Arc::new(items()?);
    let summary = load(settings, &job.address, settings.questions, move |client, number| {
        let item = |step: u64| &items[((number * 7 + step * 131) % items.len() as u64) as usize];
        client.ask(&json!({"items": [item(0), item(1), item(2)], "n": 20}).to_string())
    })?;
    let late = streaming.stop()?;
    let name = format!("questions/{}/{}ms", settings.answer_by, settings.tick);
    Ok((name, figures(settings, settings.questions, late, &summary)))
}

fn look_ups(settings: &Settings) -> Result<(String, Figures)> {
    let mut job = Served::job(settings, Stdio::piped())?;
    let mut replica = Served::start("serve --input -", Stdio::null())?;
    let mut lists = job.process.stdout.take().context("no output")?;
    let mut to_replica = replica.process.stdin.take().context("no input")?;
    thread::spawn(move || std::io::copy(&mut lists, &mut to_replica));
    let (events, stdin) = job.warm_up(settings.warm_up)?;
    let streaming = Streaming::start(events, stdin, settings.events);
    let items = Arc::new(items()?);
    let summary = load(settings, &replica.address, settings.look_ups, move |client, number| {
        client.get(&format!("/v1/items/{}/similar", items[(number * 7) as usize % items.len()]))
    })?;
    let late = streaming.stop()?;
    Ok(("look-ups".to_owned(), figures(settings, settings.look_ups, late, &summary)))
}

fn freshness(settings: &Settings) -> Result<(String, Figures)> {
    let mut job = Served::job(settings, Stdio::null())?;
    let (mut events, mut stdin) = job.warm_up(settings.warm_up)?;
    // One thread sends all events, so that lines stay whole: marked ones are sent between the others.
    let (stop, marked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (ends, number) = (Arc::clone(&stop), Arc::clone(&marked));
    let rate = settings.events;
    let sender = thread::spawn(move || -> Result<()> {
        let (start, mut sent, mut last) = (Instant::now(), 0, 0);
        while !ends.load(Ordering::Relaxed) {
            let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
            events.write(due - sent, &mut stdin)?;
            sent = due;
            let mark = number.load(Ordering::Acquire);
            if mark > last {
                last = mark;
                for item in ["left", "right"] {
                    let (basket, item) = (format!("marked-{mark}"), format!("{item}-{mark}"));
                    writeln!(stdin, "{}", json!({"event": "add", "basket": basket, "item": item}))?;
                }
                stdin.flush()?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let mut client = Client::connect(&job.address)?;
    let (mut latencies, end) = (Latencies::default(), Instant::now() + Duration::from_secs(settings.seconds));
    for mark in 1.. {
        if Instant::now() >= end {
            break;
        }
        let due = Instant::now();
        marked.store(mark, Ordering::Release);
        let body = json!({"items": [format!("left-{mark}")], "fallback": "none"}).to_string();
        let right = format!("right-{mark}");
        while !String::from_utf8_lossy(&client.ask(&body)?).contains(&right) {
            ensure!(due.elapsed() < Duration::from_secs(20), "an event never came out");
        }
        latencies.push(due.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    sender.join().map_err(|_panic| anyhow::anyhow!("the sender panicked"))??;
    let name = format!("freshness/{}/{}ms", settings.answer_by, settings.tick);
    Ok((name, figures(settings, 0, Duration::ZERO, &latencies.summary())))
}
