//! Helpers that the tests of the binary share: run it with a time limit, run several as a cluster, read its lists.

use crate::skipped::skip;
use deltacart::output::Lists;
use deltacart_inputs::generate::{Shop, ShopSettings};
pub(crate) use deltacart_testing::Random;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The time limit of a run, longer than any of these runs takes on a busy machine. A run that hangs fails its test.
const RUN_TIME_MAX: Duration = Duration::from_secs(240);

/// The longest wait for something that the job does without being asked.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A temporary folder for one test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// The path of a file in the folder, as a flag takes it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Creates a file in the folder, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Creates a host file of loopback addresses that were free a moment ago.
    pub(crate) fn hostfile(&self, processes: usize) -> String {
        let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut lines = String::new();
        for listener in &listeners {
            writeln!(lines, "{}", listener.local_addr().unwrap()).unwrap();
        }
        self.file("hosts", lines)
    }
}

/// A running process of the binary.
pub(crate) struct Running {
    child: Child,
    what: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<()>>,
    /// The output on standard error so far.
    said: Arc<Mutex<Vec<u8>>>,
}

/// The result of a process that has ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Errors and the summary from standard error. The log of progress is in `told`.
    pub(crate) stderr: String,
    pub(crate) told: String,
    pub(crate) took: Duration,
    what: String,
}

/// Starts the binary with the words of `line`, separated at blanks, and then with `more`.
pub(crate) fn start(line: &str, more: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
    command
        .args(line.split_whitespace())
        .args(more)
        .env_remove("RUST_LOG")
        .env_remove("DELTACART_CLUSTER_SECRET");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let said: Arc<Mutex<Vec<u8>>> = Arc::default();
    let hears = Arc::clone(&said);
    let stderr = Some(thread::spawn(move || listen(stderr, &hears)));
    let what = format!("{line} {}", more.join(" "));
    Running { child, what, stdout: Some(thread::spawn(move || read(stdout))), stderr, said }
}

fn listen(mut from: impl Read, said: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        said.lock().unwrap().extend_from_slice(&bytes[..read]);
    }
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Runs the binary to its end, with an empty standard input.
pub(crate) fn run(line: &str, more: &[&str]) -> Finished {
    run_with_input(line, more, b"")
}

/// Runs the binary to its end, with `input` as its standard input.
pub(crate) fn run_with_input(line: &str, more: &[&str], input: &[u8]) -> Finished {
    let mut running = start(line, more);
    let mut stdin = running.stdin();
    let input = input.to_vec();
    // The write fails if the binary ends before it has read everything.
    let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
    let finished = running.finish();
    writer.join().unwrap();
    finished
}

/// Runs a job as `processes` processes with the same flags. The result of process 0 comes first.
pub(crate) fn run_cluster(folder: &Folder, processes: usize, line: &str, more: &[&str]) -> Vec<Finished> {
    let hosts = folder.hostfile(processes);
    let start =
        |process: usize| start(&format!("{line} -n {processes} -p {process} --hostfile {hosts}"), more);
    let running: Vec<Running> = (0..processes).map(start).collect();
    running.into_iter().map(Running::finish).collect()
}

impl Running {
    /// Takes the standard input of the process, which ends when the result is dropped.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether standard error contains `text` so far.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.said.lock().unwrap()).contains(text)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, signal: &str) {
        let signal = format!("-{signal}");
        let killed = Command::new("kill").args([&signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success(), "{} has gone already", self.what);
    }

    /// Kills the process, which may have ended already.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process has ended.
    pub(crate) fn finish(mut self) -> Finished {
        // A process that waits for the end of its input gets it.
        drop(self.child.stdin.take());
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > RUN_TIME_MAX {
                self.child.kill().unwrap();
                self.stderr.take().unwrap().join().unwrap();
                let said = String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned();
                panic!("{} did not end within {RUN_TIME_MAX:?}: {said}", self.what);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let stdout = self.stdout.take().unwrap().join().unwrap();
        self.stderr.take().unwrap().join().unwrap();
        let stderr = String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned();
        let (told, stderr): (Vec<&str>, Vec<&str>) =
            stderr.split_inclusive('\n').partition(|line| line.starts_with(" INFO "));
        let (told, stderr) = (told.concat(), stderr.concat());
        Finished { status, stdout, stderr, told, took: start.elapsed(), what: self.what.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no process behind. After a test that passed, the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Finished {
        assert_eq!(self.status.code(), Some(code), "exit code of {}: {}", self.what, self.stderr);
        self
    }

    /// Checks that standard error contains this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Finished {
        assert!(self.stderr.contains(text), "{} should say {text:?}: {}", self.what, self.stderr);
        self
    }

    /// The last line on standard error.
    pub(crate) fn summary(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// Waits until a condition holds, up to [`WAIT_MAX`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WAIT_MAX, "{what}: not within {WAIT_MAX:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The lists that the records of a file add up to, one line for each item.
#[track_caller]
pub(crate) fn lists_of_file(path: &str) -> String {
    lists_of_lines(&fs::read(path).unwrap())
}

/// The lists that lines of records add up to, one line for each item.
#[track_caller]
pub(crate) fn lists_of_lines(lines: &[u8]) -> String {
    let mut lists = Lists::new();
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        lists.apply(None, Some(line)).unwrap();
    }
    canonical(&lists)
}

/// Lists as text, one line for each item.
pub(crate) fn canonical(lists: &Lists) -> String {
    let mut text = Vec::new();
    lists.write_canonical(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The events of a synthetic shop, each with the id of its basket.
pub(crate) fn events_of(settings: ShopSettings) -> Vec<(String, Vec<u8>)> {
    let record = |event: deltacart_inputs::generate::CartEvent| {
        let mut json = Vec::new();
        event.write_json(&mut json);
        (event.basket_id().to_string(), json)
    };
    Shop::new(settings).unwrap().map(record).collect()
}

/// A file of the public data sets, if they lie beside the workspace.
pub(crate) fn data(name: &str) -> Option<String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        skip(format_args!("there is no {}", path.display()));
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}

/// The path of a sample file of the crate `inputs`.
pub(crate) fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs/sample").join(name);
    path.to_str().unwrap().to_owned()
}
