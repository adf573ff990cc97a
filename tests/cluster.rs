//! Clusters of processes: they connect in spite of unknown peers, refuse what does not belong, and fail together and
//! fast.

use crate::support::{Folder, Running, lists_of_file, lists_of_lines, run, start, wait_until};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PROCESSES: usize = 3;

/// The time within which a cluster reacts, also on a busy machine. Without the reaction, it would take far longer.
const SOON: Duration = Duration::from_secs(30);

/// The settings of a cluster: its addresses, its secret and its folder.
struct Place {
    folder: Folder,
    flags: String,
    secret: String,
    addresses: Vec<String>,
}

impl Place {
    /// The settings of a cluster whose processes have these flags.
    fn new(flags: &str) -> Place {
        let folder = Folder::new();
        let hosts = folder.hostfile(PROCESSES);
        let addresses = fs::read_to_string(&hosts).unwrap().lines().map(str::to_owned).collect();
        let secret = folder.file("secret", "a secret that nobody guesses\n");
        // The job warns of a secret that others can read.
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        Place { folder, flags: format!("run --hostfile {hosts} {flags}"), secret, addresses }
    }

    /// The file that process 0 writes.
    fn output(&self) -> String {
        self.folder.path("lists.jsonl")
    }

    /// Starts one process of the cluster, with further flags.
    fn start(&self, process: usize, more: &str) -> Running {
        self.start_with(&self.secret, process, more)
    }

    fn start_with(&self, secret: &str, process: usize, more: &str) -> Running {
        let cluster = format!("-n {PROCESSES} -p {process} --cluster-secret-file {secret}");
        start(&format!("{} {cluster} {more}", self.flags), &[])
    }

    fn start_all(&self, more: &str) -> Vec<Running> {
        (0..PROCESSES).map(|process| self.start(process, more)).collect()
    }

    /// Starts a cluster that has written lists and waits for more input.
    fn start_live(&self, more: &str) -> (Vec<Running>, ChildStdin) {
        let mut running = self.start_all(&format!("--input - --output {} {more}", self.output()));
        let mut stdin = running[0].stdin();
        for basket in 0..5 {
            writeln!(stdin, r#"{{"basket":{basket},"items":[{{"item":"tea"}},{{"item":"lemon"}}]}}"#)
                .unwrap();
        }
        wait_until("lists of both items", || {
            fs::read_to_string(self.output()).is_ok_and(|text| text.lines().count() >= 2)
        });
        (running, stdin)
    }

    /// The name of a process in messages.
    fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.addresses[process])
    }

    /// Keeps `connections` silent connections to a process until `stop`. Each one that is closed is opened again.
    fn besiege(&self, process: usize, connections: usize, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
        let (address, stop) = (self.addresses[process].clone(), Arc::clone(stop));
        let is_open = |stream: &TcpStream| match stream.peek(&mut [0]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        thread::spawn(move || {
            let mut held: Vec<TcpStream> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                held.retain(is_open);
                while held.len() < connections
                    && let Ok(stream) = TcpStream::connect(&address)
                {
                    stream.set_nonblocking(true).unwrap();
                    held.push(stream);
                }
                thread::sleep(Duration::from_millis(5));
            }
        })
    }

    /// A connection to a process as soon as it listens.
    fn connect(&self, process: usize) -> TcpStream {
        let mut stream = None;
        wait_until("a process listens", || {
            stream = TcpStream::connect(&self.addresses[process]).ok();
            stream.is_some()
        });
        stream.unwrap()
    }
}

/// The carts of a small shop, in a file.
fn carts(folder: &Folder) -> String {
    let mut rows = String::from("session,item\n");
    for session in 0..3000 {
        for place in 0..4 {
            rows.push_str(&format!("{session},item-{}\n", (session * 7 + place * 31) % 500));
        }
    }
    folder.file("carts.csv", rows)
}

const CSV: &str = "--format csv --columns basket=session,item=item --epoch-events 1000";

#[test]
fn a_cluster_says_what_one_process_says_also_on_standard_output() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let alone = run(&format!("run {CSV} --input {input}"), &[]).expect(0);
    for workers in [1, 2] {
        let running = place.start_all(&format!("--input {input} -w {workers}"));
        let done: Vec<_> = running.into_iter().map(|process| process.finish().expect(0)).collect();
        assert_eq!(lists_of_lines(&done[0].stdout), lists_of_lines(&alone.stdout), "-w {workers}");
        assert!(done[0].summary().contains(" events of "), "{}", done[0].stderr);
        for other in &done[1..] {
            assert_eq!((other.stdout.len(), other.stderr.as_str()), (0, ""), "nothing to say");
        }
    }
}

#[test]
fn a_signal_to_one_process_ends_all_in_good_order() {
    let place = Place::new("");
    let (running, _stdin) = place.start_live("");
    running[1].signal("TERM");
    running.into_iter().for_each(|process| drop(process.finish().expect(0)));
    assert_eq!(lists_of_file(&place.output()).lines().count(), 2);
}

/// The time-outs are the defaults.
#[test]
fn a_process_that_stands_still_is_named_by_the_others() {
    let place = Place::new("");
    let (mut running, _stdin) = place.start_live("");
    let stopped = running.pop().unwrap();
    stopped.signal("STOP");
    let start = Instant::now();
    for process in running {
        let done = process.finish().expect(1).says(&place.name(2)).says("has not been heard for 8s");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(done.stderr.lines().count(), 1, "one line: {}", done.stderr);
    }
    // When the stopped process continues, it finds that it is alone.
    stopped.signal("CONT");
    stopped.finish().expect(1).says("process ");
}

/// A process that is stopped for less than the others' time-out, but longer than its own watchdog's, causes no
/// failure.
#[test]
fn a_short_stop_is_no_failure() {
    let place = Place::new("--peer-timeout 30s --stall-timeout 2s");
    let (running, stdin) = place.start_live("");
    running[1].signal("STOP");
    thread::sleep(Duration::from_secs(3));
    running[1].signal("CONT");
    drop(stdin);
    running.into_iter().for_each(|process| drop(process.finish().expect(0)));
}

#[test]
fn a_process_that_is_killed_is_named_by_the_others() {
    for victim in 0..PROCESSES {
        let place = Place::new("");
        let (mut running, _stdin) = place.start_live("");
        let killed = running.remove(victim);
        killed.signal("KILL");
        let start = Instant::now();
        for process in running {
            let done = process.finish().expect(1).says(&place.name(victim));
            assert_eq!(done.stderr.lines().count(), 1, "one line: {}", done.stderr);
        }
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// All processes report the reason of the one that failed, each once.
///
/// Regression: if the failed process was slow to end, it heard that the others ended after its own report. Then it
/// reported its own end as the cause before the real reason.
#[test]
fn a_process_that_fails_tells_the_others_why() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    // Each process has its own file for dead letters. Process 1 cannot create its file.
    let letters = place.folder.path("letters");
    fs::create_dir(format!("{letters}.1")).unwrap();
    let flags = format!("--input {input} --output {} --dead-letter {letters}", place.output());
    let mut running = place.start_all(&flags);
    let failed = running.remove(1).finish().expect(1).says("letters.1");
    assert_eq!(failed.stderr.lines().count(), 1, "one line: {}", failed.stderr);
    let why = failed.stderr.trim().trim_start_matches("deltacart: ");
    for process in running {
        process.finish().expect(1).says(&format!("{} has ended: {why}", place.name(1)));
    }
}

/// `deltacart | head -1` as process 0.
#[test]
fn a_reader_that_has_had_enough_ends_all_without_a_failure() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags =
        format!("{} -n {PROCESSES} --cluster-secret-file {} --input {input}", place.flags, place.secret);
    let others = [1, 2].map(|process| start(&format!("{flags} -p {process}"), &[]));
    let mut first = Command::new(env!("CARGO_BIN_EXE_deltacart"));
    first
        .args(flags.split_whitespace())
        .args(["--log", "warn"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, first.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(r#"{"version":1,"item":"#), "{line}");
    let done = first.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0));
    for other in others {
        assert_eq!(other.finish().expect(0).stderr, "");
    }
}

#[test]
fn strangers_do_no_harm() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags = format!("--input {input} --output {}", place.output());
    let mut running = vec![place.start(0, &flags), place.start(1, &flags)];
    let mut held = Vec::new();
    for process in [0, 1] {
        for words in
            [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 1 << 16], b"deltaca>\0\x01\x01 no proof"]
        {
            let mut stranger = place.connect(process);
            // The peer may be refused before it has sent everything.
            let _ = stranger.write_all(words);
            let _ = stranger.shutdown(std::net::Shutdown::Write);
            let _ = stranger.read_to_end(&mut Vec::new());
        }
        // A scanner that disconnects at once, and some peers that send nothing for as long as they may.
        drop(place.connect(process));
        held.extend((0..10).map(|_| place.connect(process)));
    }
    running.push(place.start(2, &flags));
    for (process, running) in running.into_iter().enumerate() {
        let done = running.finish().expect(0);
        // Silent peers are refused after a while, which may come before or after the cluster has started.
        let is_refusal = |line: &&str| line.contains(" was refused: ") && !line.contains("no answer in time");
        let refused = done.stderr.lines().filter(is_refusal).count();
        assert_eq!(refused, if process == 2 { 0 } else { 4 }, "a line for each: {}", done.stderr);
    }
    let alone = run(&format!("run {CSV} --input {input}"), &[]).expect(0);
    assert_eq!(lists_of_file(&place.output()), lists_of_lines(&alone.stdout));
}

/// Regression: silent peers filled all connections that had not proved the secret. With 128 of them, the processes
/// never connected. With 64, it took half a minute.
#[test]
fn silent_strangers_keep_nobody_out() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags = format!("--input {input} --output {} --join-timeout 30s", place.output());
    let stop = Arc::new(AtomicBool::new(false));
    let besieged: Vec<_> = [0, 1].map(|process| place.besiege(process, 128, &stop)).into();
    let mut running = vec![place.start(0, &flags), place.start(1, &flags)];
    let _known = [0, 1].map(|process| place.connect(process));
    // Waits until all silent peers are connected.
    thread::sleep(Duration::from_secs(1));
    running.push(place.start(2, &flags));
    let mut done: Vec<_> = running.into_iter().map(|process| process.finish().expect(0)).collect();
    stop.store(true, Ordering::Relaxed);
    besieged.into_iter().for_each(|thread| thread.join().unwrap());
    done.swap_remove(0).says("others called, and it had proved nothing yet").says("more of this is not told");
    let alone = run(&format!("run {CSV} --input {input}"), &[]).expect(0);
    assert_eq!(lists_of_file(&place.output()), lists_of_lines(&alone.stdout));
}

#[test]
fn another_secret_is_refused_and_the_right_one_still_comes_in() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags = format!("--input {input} --output {}", place.output());
    let running = [place.start(0, &flags), place.start(1, &flags)];
    let other = place.folder.file("other", "a secret that somebody guessed");
    let refused = place.start_with(&other, 2, &flags);
    refused.finish().expect(1).says("cannot start").says("the secrets differ");
    place.start(2, &flags).finish().expect(0);
    let done = running.map(|process| process.finish().expect(0));
    let said = done.map(|done| done.stderr).concat();
    assert!(said.contains("it does not know the secret (it says that it is process 2)"), "{said}");
}

#[test]
fn the_same_process_twice_is_refused() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags = format!("--input {input} --output {}", place.output());
    let running = [place.start(0, &format!("{flags} --log info")), place.start(1, &flags)];
    // Until one of the two processes has its seat, either may be refused.
    let seated = format!("{} is there", place.name(1));
    wait_until("process 1 has its seat", || running[0].has_said(&seated));
    place.start(1, &format!("{flags} --listen 127.0.0.1:0")).finish().expect(1).says("is a -p given twice?");
    place.start(2, &flags).finish().expect(0);
    let done = running.map(|process| process.finish().expect(0));
    assert!(done[0].stderr.contains("that process is here already"), "{}", done[0].stderr);
}

#[test]
fn other_flags_are_named_on_both_sides() {
    let place = Place::new(CSV);
    let input = carts(&place.folder);
    let flags = format!("--input {input} --output {} --join-timeout 20s", place.output());
    let both = [place.start(0, &format!("{flags} -k 5")), place.start(1, &format!("{flags} -k 7"))];
    let [zero, one] = both.map(Running::finish);
    zero.expect(1).says(&place.name(1)).says("--top-k is 7 there and 5 here");
    one.expect(1).says(&place.name(0)).says("--top-k is 5 there and 7 here");
    assert!(!fs::exists(place.output()).unwrap(), "nothing is touched before all are there");
}

#[test]
fn a_process_that_is_missing_is_named() {
    let place = Place::new("--join-timeout 1s");
    let input = carts(&place.folder);
    let running = [0, 2].map(|process| place.start(process, &format!("--input {input}")));
    for process in running {
        let done = process.finish().expect(1);
        let said = format!("1 of 3 processes are missing after 1s (--join-timeout): {}", place.name(1));
        assert!(done.stderr.contains(&said), "{}", done.stderr);
        assert!(done.took < SOON);
    }
}

#[test]
fn waiting_for_others_can_be_ended() {
    let place = Place::new("");
    let waiting = place.start(0, "--input -");
    drop(place.connect(0));
    waiting.signal("TERM");
    let done = waiting.finish().expect(0);
    assert!(done.took < SOON);
}

#[test]
fn addresses_that_others_can_reach_need_a_secret() {
    let folder = Folder::new();
    let hosts = folder.file("hosts", "10.0.0.1:2101\n10.0.0.2:2101\n");
    let short = folder.file("short", "short\n");
    for (flags, said) in [
        (format!("--hostfile {hosts} -n 2"), "--cluster-secret-file"),
        ("--listen 0.0.0.0:2101 -n 2".to_owned(), "--cluster-secret-file"),
        (format!("--hostfile {hosts} -n 2 --cluster-secret-file {short}"), "at least 16"),
        (format!("--hostfile {hosts} -n 2 --cluster-secret-file {hosts}.none"), "hosts.none"),
        ("--listen nowhere -n 2".to_owned(), "host:port"),
        ("--peer-timeout 10ms -n 2".to_owned(), "--peer-timeout must be"),
        ("--stall-timeout 10ms".to_owned(), "--stall-timeout"),
    ] {
        run(&format!("run --input - {flags}"), &[]).expect(2).says(said);
    }
}

/// The output is a pipe that nobody reads.
#[test]
fn a_worker_that_stands_still_is_named() {
    let folder = Folder::new();
    let (input, pipe) = (carts(&folder), folder.path("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opened for reading and writing, since opening a pipe only to read waits for a writer, for ever if there is
    // none.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let running = start(&format!("run {CSV} --input {input} --output {pipe} --stall-timeout 1s"), &[]);
    running.finish().expect(1).says("worker 0 has not come round for 1s (--stall-timeout)");
}

/// The supervisor files use only flags that exist.
#[test]
fn supervisors_use_flags_that_exist() {
    const FILES: [&str; 4] = [
        include_str!("../deploy/systemd/deltacart@.service"),
        include_str!("../deploy/systemd/deltacart.env"),
        include_str!("../deploy/kubernetes/deltacart.yaml"),
        include_str!("../deploy/compose/compose.yaml"),
    ];
    let help = String::from_utf8(run("run --help", &[]).expect(0).stdout).unwrap();
    for file in FILES {
        let lines = file.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(|line| line.split([' ', '=']));
        let flags: Vec<_> = words.filter(|word| word.starts_with("--") && word.len() > 3).collect();
        assert!(flags.len() > 1, "flags are not found where they were: {flags:?}");
        for flag in flags {
            assert!(help.contains(&format!("{flag} <")), "run has no {flag}");
        }
    }
}
