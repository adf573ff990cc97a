//! Several processes publish together what one does, so every record survives its way over a socket.
//!
//! The test runs its own binary again as each process of a cluster; there [`process_of_a_cluster`] does its part and
//! leaves the updates in a file. Both sides make the same events from the same seed.

use crate::harness::{Update, execute, params, updates};
use crate::shop::small_changes;
use deltacart_dataflows::{Algorithm, Event, Measure, Params};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use timely::communication::Config as Communication;

const PROCESSES: usize = 2;
const THREADS: usize = 2;

/// The index of a process, and where all of them listen: `index host:port host:port…`.
const PROCESS: &str = "DELTACART_TEST_PROCESS";
/// The folder where a process leaves its updates.
const FOLDER: &str = "DELTACART_TEST_FOLDER";

/// What is run, one dataflow after the other: the same whenever and wherever it is asked for.
fn runs() -> Vec<(Vec<Vec<Event>>, Params)> {
    let fast = Measure::ALL.map(|measure| params(Algorithm::Fast, measure, 3));
    let reference = [Measure::Cosine, Measure::Llr].map(|measure| params(Algorithm::Reference, measure, 3));
    let mut runner = TestRunner::deterministic();
    let runs = fast.into_iter().chain(reference).map(|params| {
        let mut epochs = small_changes().new_tree(&mut runner).unwrap().current();
        // Longer than what a name holds without an allocation.
        for event in epochs.iter_mut().flatten().filter(|event| event.basket.ends_with('7')) {
            event.basket = format!("a basket with a long name: {}", event.basket).into();
        }
        for event in epochs.iter_mut().flatten() {
            event.action = event.action.clone().map_item(|item| match item.as_str() {
                "i3" => "an item with a long name".repeat(20).into(),
                _ => item,
            });
        }
        (epochs, params)
    });
    runs.collect()
}

fn file(folder: &Path, run: usize, process: usize) -> PathBuf {
    folder.join(format!("run {run} process {process}"))
}

/// A line per update.
fn text(updates: &[Update]) -> String {
    updates.iter().map(|update| format!("{update:?}\n")).collect()
}

/// One process of a cluster, when started as one; otherwise nothing.
#[test]
fn process_of_a_cluster() {
    let (Ok(process), Some(folder)) = (std::env::var(PROCESS), std::env::var_os(FOLDER)) else { return };
    let (process, addresses) = process.split_once(' ').unwrap();
    let process: usize = process.parse().unwrap();
    let addresses: Vec<String> = addresses.split(' ').map(String::from).collect();
    let communication =
        Communication::Cluster { threads: THREADS, process, addresses, report: false, zerocopy: false };
    let config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    for (run, updates) in execute(config, runs()).into_iter().enumerate() {
        fs::write(file(Path::new(&folder), run, process), text(&updates)).unwrap();
    }
}

/// Processes of a cluster, which end with the test whatever happens.
struct Cluster(Vec<Child>);

impl Cluster {
    fn start(folder: &Path) -> Cluster {
        // Held together, so that they differ, and let go before the processes take them.
        let listeners: Vec<_> = (0..PROCESSES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        drop(listeners);
        let processes = (0..PROCESSES).map(|process| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes::process_of_a_cluster", "--nocapture"])
                .env(PROCESS, format!("{process} {}", addresses.join(" ")))
                .env(FOLDER, folder)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        });
        Cluster(processes.collect())
    }

    /// Waits until all processes are done; fails if one fails or takes too long.
    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut running: Vec<&mut Child> = self.0.iter_mut().collect();
        while !running.is_empty() {
            running.retain_mut(|process| match process.try_wait().unwrap() {
                Some(status) => {
                    assert!(status.success(), "a process of the cluster failed: {status}");
                    false
                }
                None => true,
            });
            assert!(Instant::now() < deadline, "{} processes do not end", running.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Those that have ended need neither.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn processes_do_not_matter() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("processes-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    Cluster::start(&folder).wait();
    for (run, (epochs, params)) in runs().into_iter().enumerate() {
        let expected = updates(&epochs, params, 1);
        assert!(expected.len() > 50, "run {run} says little");
        let parts = (0..PROCESSES).map(|process| fs::read_to_string(file(&folder, run, process)).unwrap());
        let parts: Vec<String> = parts.collect();
        assert!(parts.iter().all(|part| !part.is_empty()), "run {run}: every process has its part");
        let mut actual: Vec<&str> = parts.iter().flat_map(|part| part.lines()).collect();
        let expected = text(&expected);
        let mut expected: Vec<&str> = expected.lines().collect();
        actual.sort_unstable();
        expected.sort_unstable();
        assert_eq!(expected, actual, "run {run}: {params:?}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
