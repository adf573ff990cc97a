//! Observation of a running job: its metrics compared with its summary, its readiness, and hostile clients.

mod exposition;
mod logs;

use crate::support::{Folder, Running, start, wait_until};
use exposition::Page;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// An HTTP response.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// An address of loopback that was free a moment ago.
pub(super) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Sends bytes and reads until the server closes the connection. `None` if it refuses or does not close it within 20
/// s.
fn exchange(address: &str, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // Bytes that were sent but not read make the system reset the connection, perhaps after a response.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(_) => return None,
    }
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn request(address: &str, request_line: &str) -> Option<Answer> {
    let text = exchange(address, format!("{request_line} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn get(address: &str, path: &str) -> Option<Answer> {
    request(address, &format!("GET {path}"))
}

/// All metrics as text. Empty if nothing is served yet.
pub(super) fn page_text(address: &str) -> String {
    get(address, "/metrics").map_or(String::new(), |answer| answer.body)
}

/// Whether the response to `path` has this status. False if there is no response yet.
fn says(address: &str, path: &str, status: u16) -> bool {
    get(address, path).is_some_and(|answer| answer.status == status)
}

#[track_caller]
fn scrape(address: &str) -> Page {
    let answer = get(address, "/metrics").expect("metrics are served");
    assert_eq!(answer.status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    exposition::read(&answer.body).unwrap_or_else(|wrong| panic!("{wrong}\n{}", answer.body))
}

/// The number before the first occurrence of `words` in a summary. 0 where the summary does not contain them.
fn said(summary: &str, words: &str) -> f64 {
    let Some(at) = summary.find(words) else { return 0.0 };
    let before = summary[..at].trim_end().rsplit([' ', '(']).next().unwrap();
    before.parse().unwrap_or_else(|_| panic!("{before:?} before {words:?} in {summary}"))
}

/// Starts a job with a live input. Returns it with the address of its metrics.
fn start_live(folder: &Folder, flags: &str) -> (Running, String) {
    let (address, output) = (free_address(), folder.path("lists.jsonl"));
    (start(&format!("run --input - --output {output} --metrics {address} {flags}"), &[]), address)
}

#[test]
fn metrics_are_the_summary_of_a_job_that_runs() {
    for flags in ["--epoch 5ms", "-w 2 --epoch 5ms --duplicate-horizon 7 --run-label blue/2"] {
        let folder = Folder::new();
        let (mut running, address) = start_live(&folder, flags);
        let mut stdin = running.stdin();
        for basket in 0..40 {
            for item in ["tea", "lemon", "an item of more than twenty-four bytes"] {
                writeln!(stdin, r#"{{"event":"add","basket":"b{basket}","user":"u{}","item":"{item}","id":"{basket}{item}"}}"#, basket % 3).unwrap();
            }
        }
        writeln!(stdin, r#"{{"event":"add","basket":"b39","item":"tea","id":"39tea"}}"#).unwrap();
        writeln!(stdin, r#"{{"event":"view","basket":"b39","item":"tea"}}"#).unwrap();
        writeln!(stdin, "no event\n{{}}\nneither").unwrap();
        stdin.flush().unwrap();
        wait_until("everything is in and out", || {
            says(&address, "/readyz", 200) && {
                let page = scrape(&address);
                page.get("deltacart_records_total") == 125.0 && page.get("deltacart_epochs_open") == 1.0
            }
        });
        // Delivered epochs are counted a moment before the worker leaves the report that contains all of them.
        std::thread::sleep(Duration::from_millis(500));
        wait_until("it was looked at what is held", || scrape(&address).get("deltacart_lines") == 120.0);
        let page = scrape(&address);
        drop(stdin);
        let done = running.finish().expect(0);
        let summary = done.summary();
        for (sample, words) in [
            ("deltacart_events_total", " events of "),
            ("deltacart_records_total", " records, "),
            ("deltacart_duplicates_total", " duplicate"),
            ("deltacart_views_total", " view"),
            ("deltacart_lists_changed_total", " lists changed"),
            ("deltacart_records_out_total", " records of "),
            ("deltacart_bytes_out_total", " bytes, "),
            ("deltacart_epoch_seconds_count", " epoch"),
        ] {
            assert!(page.get(sample) > 0.0 || said(summary, words) == 0.0, "{sample}");
            assert_eq!(page.get(sample), said(summary, words), "{sample} of {summary}");
        }
        let rejects: f64 = page.all("deltacart_rejects_total").values().sum();
        assert_eq!((rejects, said(summary, " rejects")), (3.0, 3.0), "{summary}");
        assert_eq!(page.get(r#"deltacart_rejects_total{reason="malformed"}"#), said_of(summary, "malformed"));
        check_state(&page, flags);
    }
}

/// The number after a word of a summary.
fn said_of(summary: &str, word: &str) -> f64 {
    let rest = summary.split_once(word).unwrap_or_else(|| panic!("no {word} in {summary}")).1;
    rest.trim_start().split([',', ')']).next().unwrap().parse().unwrap()
}

fn check_state(page: &Page, flags: &str) {
    let workers = if flags.contains("-w 2") { 2 } else { 1 };
    let horizon: f64 = if workers == 2 { 7.0 } else { 100_000.0 };
    assert_eq!(page.get("deltacart_baskets"), 40.0);
    assert_eq!(page.get("deltacart_items"), 3.0);
    assert!(
        (3.0..=6.0).contains(&page.get("deltacart_users")),
        "three on each worker that has their baskets"
    );
    assert!(page.get("deltacart_rows") >= 3.0);
    assert_eq!(page.get("deltacart_ids_remembered"), horizon.min(120.0));
    assert_eq!(page.get(r#"deltacart_bound{bound="duplicate_horizon"}"#), horizon);
    let label = if workers == 2 { "blue/2" } else { "" };
    let info =
        format!("deltacart_build_info{{version=\"{}\",run_label=\"{label}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(page.get(&info), 1.0);
    assert_eq!(page.get("deltacart_ready"), 1.0);
    assert!(page.get("deltacart_epoch") >= 1.0);
    let work = page.all("deltacart_work_total");
    assert_eq!(work.len(), workers);
    assert!(work.values().sum::<f64>() > 0.0);
    for part in ["ledger", "names", "store", "rows"] {
        let bytes = page.get(&format!("deltacart_state_bytes{{part=\"{part}\"}}"));
        assert!((100.0..1e6).contains(&bytes), "{bytes} bytes of {part}");
    }
    // The end of a pipe is unknown, so there is no lag.
    assert!(page.all("deltacart_lag_events").is_empty());
    if cfg!(target_os = "linux") {
        assert!(page.get("process_resident_memory_bytes") > 1e6);
    }
}

/// A basket expires, and with it an item that no other basket holds.
#[test]
fn what_is_forgotten_is_counted() {
    let folder = Folder::new();
    let (mut running, address) = start_live(&folder, "-w 2 --epoch 5ms --basket-idle 10m");
    let mut stdin = running.stdin();
    let mut add = |basket: &str, item: &str, minute: u32| {
        let time = format!("2026-01-31T12:{minute:02}:00Z");
        writeln!(stdin, r#"{{"event":"add","basket":"{basket}","item":"{item}","time":"{time}"}}"#).unwrap();
        stdin.flush().unwrap();
    };
    add("left", "tea", 0);
    add("left", "lemon", 1);
    add("kept", "tea", 11);
    wait_until("a basket is forgotten, and what only it had", || {
        // Items are forgotten when later epochs are closed.
        add("kept", "tea", 12);
        says(&address, "/metrics", 200) && scrape(&address).get("deltacart_items_forgotten_total") == 1.0
    });
    // Each worker measures the size of its state at intervals.
    wait_until("what is left is counted", || {
        let page = scrape(&address);
        (page.get("deltacart_baskets"), page.get("deltacart_items")) == (1.0, 1.0)
    });
    let page = scrape(&address);
    drop(stdin);
    running.finish().expect(0).says("1 idle basket forgotten");
    assert_eq!(page.get("deltacart_baskets_expired_total"), 1.0);
    assert_eq!(page.get(r#"deltacart_bound{bound="basket_idle_ms"}"#), 600_000.0);
    // 12:12 in the input's time.
    assert_eq!(page.get(r#"deltacart_clock_seconds{file="-",partition="0"}"#), 1_769_861_520.0);
}

#[test]
fn the_metrics_are_those_of_the_documentation() {
    let folder = Folder::new();
    let (running, address) = start_live(&folder, "--serve 0");
    wait_until("ready", || says(&address, "/readyz", 200));
    let page = scrape(&address);
    // A job that serves goes on when its input has ended.
    running.terminate();
    running.finish().expect(0);
    let documented = include_str!("../docs/operations.md");
    let rows = documented.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names = rows.map(|(name, _)| name.split('{').next().unwrap());
    let names: Vec<&str> =
        names.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect();
    for (family, kind) in &page.families {
        let name = match kind.as_str() {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => family.clone(),
        };
        assert!(names.contains(&name.as_str()), "docs/operations.md says nothing of {name}");
    }
    // The other metrics of snapshots exist only after a snapshot.
    let known = |name: &str| {
        let family = name.trim_end_matches("_total").trim_end_matches("_info");
        page.families.contains_key(family) || name.starts_with("deltacart_snapshot")
    };
    for name in names {
        assert!(known(name) || name.starts_with("process_"), "there is no {name}");
    }
}

#[test]
fn ready_only_when_all_is_out() {
    let folder = Folder::new();
    // Opening a pipe for writing waits for a reader. So the job waits after its flags are checked and before its
    // first worker.
    let output = folder.path("lists.jsonl");
    assert!(Command::new("mkfifo").arg(&output).status().unwrap().success());
    let (mut running, address) = start_live(&folder, "");
    let mut stdin = running.stdin();
    writeln!(stdin, r#"{{"basket":1,"items":[{{"item":"tea"}},{{"item":"lemon"}}]}}"#).unwrap();
    stdin.flush().unwrap();
    wait_until("it serves", || says(&address, "/healthz", 200));
    let answer = get(&address, "/readyz").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (503, "starting: 0 of 1 workers run\n"));
    assert_eq!(scrape(&address).get("deltacart_ready"), 0.0);
    let mut reader = fs::File::open(&output).unwrap();
    wait_until("ready", || says(&address, "/readyz", 200));
    assert_eq!(get(&address, "/readyz").unwrap().body, "ok\n");
    assert_eq!(scrape(&address).get("deltacart_ready"), 1.0);
    let mut lines = [0; 10];
    reader.read_exact(&mut lines).unwrap();
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn clients_cannot_harm_the_job() {
    let folder = Folder::new();
    let (mut running, address) = start_live(&folder, "--epoch 5ms");
    let mut stdin = running.stdin();
    wait_until("it serves", || says(&address, "/readyz", 200));
    for (line, status) in [
        ("POST /metrics", 405),
        ("DELETE /", 405),
        ("GET /", 404),
        ("GET /metrics/..", 404),
        ("HEAD /metrics", 200),
    ] {
        let answer = request(&address, line).unwrap_or_else(|| panic!("no answer to {line}"));
        assert_eq!(answer.status, status, "{line}");
    }
    assert_eq!(request(&address, "HEAD /metrics").unwrap().body, "");
    let long = "x".repeat(1 << 20);
    let many = "a: b\r\n".repeat(1000);
    for bad in [
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(),
        "GET /metrics HTTP/9.9\r\n\r\n".to_owned(),
        "\r\n\r\nGET\r\n\r\n".to_owned(),
    ] {
        let answer = exchange(&address, bad.as_bytes()).expect("the connection is closed");
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{:.40} is answered with {answer}", bad.escape_debug());
    }
    // Clients that send nothing, clients that send part of a request, and clients that send one and do not read.
    let begun = Instant::now();
    let mut idle: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        let bytes: &[u8] =
            [&b""[..], b"GET /met", b"GET /metrics HTTP/1.1\r\nContent-Length: 99\r\n\r\n"][number % 3];
        let _ = stream.write_all(bytes);
    }
    writeln!(stdin, r#"{{"basket":1,"items":[{{"item":"tea"}},{{"item":"lemon"}}]}}"#).unwrap();
    stdin.flush().unwrap();
    let output = folder.path("lists.jsonl");
    wait_until("lists", || fs::read_to_string(&output).is_ok_and(|text| text.lines().count() == 2));
    assert!(begun.elapsed() < Duration::from_secs(4), "lists took {:?}", begun.elapsed());
    // The server closes all connections in the end, although the clients keep them open.
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        assert!(closed.is_ok() || closed.unwrap_err().kind() == ErrorKind::ConnectionReset);
    }
    assert_eq!(scrape(&address).get("deltacart_lists_changed_total"), 2.0);
    running.terminate();
    running.finish().expect(0);
}

/// Regression: idle clients filled all connections for ten seconds at a time. So a supervisor's health check was
/// refused, and a healthy job was killed.
#[test]
fn idle_connections_do_not_keep_a_health_check_out() {
    let folder = Folder::new();
    let (mut running, address) = start_live(&folder, "");
    let _stdin = running.stdin();
    wait_until("it serves", || says(&address, "/healthz", 200));
    let connect = || TcpStream::connect(&address).unwrap();
    let mut idle: Vec<TcpStream> = (0..64).map(|_| connect()).collect();
    for _ in 0..20 {
        let answer = get(&address, "/healthz").expect("there is always room for one more");
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
        idle.extend((0..8).map(|_| connect()));
    }
    // The server has closed the oldest connection without a response. The newest still waits for a request.
    let mut oldest = idle.remove(0);
    oldest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let is_closed = match oldest.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(is_closed, "the oldest one is open");
    let mut newest = idle.pop().unwrap();
    write!(newest, "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    newest.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    running.terminate();
    running.finish().expect(0);
}

/// A mock broker with a topic of two partitions, and 100 events in each.
fn topic() -> MockCluster<'static, DefaultProducerContext> {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("carts", 2, 1).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create().unwrap();
    for number in 0..200 {
        let event = format!(r#"{{"event":"add","basket":{},"item":"i{}"}}"#, number / 4, number % 5);
        let record = BaseRecord::<(), _>::to("carts").partition(number % 2).payload(&event);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    broker
}

#[test]
fn a_topics_lag_and_readiness() {
    let broker = topic();
    let folder = Folder::new();
    let start = |flags: &str| {
        let (address, output) = (free_address(), folder.path("lists.jsonl"));
        let brokers = broker.bootstrap_servers();
        let line = format!(
            "run -b {brokers} --input kafka:carts --output {output} --overwrite --metrics {address} {flags}"
        );
        (start(&line, &[]), address)
    };
    // The epoch takes ten events, of one partition or of both, and does not end.
    let (running, address) = start("--epoch 1h --max-epoch-events 10");
    wait_until("the lag is known", || {
        get(&address, "/metrics").is_some() && {
            let page = scrape(&address);
            let lags = page.all("deltacart_lag_events");
            let read: f64 = lags.values().map(|lag| 100.0 - lag).sum();
            read >= 10.0 && read == page.get("deltacart_events_total")
        }
    });
    let answer = get(&address, "/readyz").unwrap();
    assert_eq!(answer.status, 503);
    let (read, all) = answer.body.split_once(" of ").unwrap_or_else(|| panic!("{}", answer.body));
    assert!(read.starts_with("worker 0 is still reading what there was: "), "{read}");
    // The end of a partition is unknown until a record of it has been read.
    assert!(["100 records\n", "200 records\n"].contains(&all), "it says of how many: {all}");
    running.terminate();
    running.finish().expect(0);

    let (running, address) = start("-w 2");
    wait_until("ready", || says(&address, "/readyz", 200));
    wait_until("no lag", || {
        let page = scrape(&address);
        let lags = page.all("deltacart_lag_events");
        lags.len() == 2 && lags.values().all(|&lag| lag == 0.0) && page.get("deltacart_epochs_open") == 1.0
    });
    assert_eq!(scrape(&address).get("deltacart_events_total"), 200.0);
    running.terminate();
    let done = running.finish().expect(0).says("200 events of 200 records");
    assert!(done.told.contains(" INFO reading topic carts from its beginning as json; "), "{}", done.told);
    assert!(done.told.contains(" s: 200 records read, every list is out; waiting for more"), "{}", done.told);
}
