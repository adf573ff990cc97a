//! Reports of a job: unusable records and files at once; its start, its progress, and that it has caught up. A run
//! that was interrupted does not look like one that is complete.

use crate::skipped::skip;
use crate::support::{Folder, lists_of_file, run, run_with_input, start, wait_until};
use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Stdio};

const GOOD: &str = "{\"basket\":1,\"items\":[{\"item\":\"tea\"},{\"item\":\"mug\"}]}\n";

#[test]
fn a_file_of_which_nothing_could_be_used_is_a_failure() {
    let folder = Folder::new();
    let (good, bad) = (folder.file("good.jsonl", GOOD), folder.file("bad.jsonl", "{}\n{}\nno JSON\n"));
    let lists = folder.path("lists.jsonl");
    let nothing =
        format!("nothing of {bad} could be used: 3 records rejected, the first as missing-basket: ");
    let done = run(&format!("run --input {bad} --output {lists}"), &[]).expect(1).says(&nothing);
    let first = format!(" WARN {bad}, record 1 cannot be used: missing-basket: ");
    let other = format!(" WARN {bad}, record 3 cannot be used: malformed: ");
    let done = done.says(&first).says(&other).says("3 rejects (malformed 1, missing-basket 2)");
    assert_eq!(done.stderr.matches("cannot be used").count(), 2, "a line a reason: {}", done.stderr);
    assert!(done.summary().contains("check --format (now json)"), "the fix is named: {}", done.summary());
    // The lists of the usable input are written, and the run still reports that it is incomplete.
    let done = run(&format!("run --input {good} {bad} --output {lists} -w 2"), &[]).expect(1);
    let done = done.says(&format!("nothing of {bad} could be used: 3 records rejected"));
    assert_eq!(lists_of_file(&lists).lines().count(), 2, "{}", done.stderr);
    // One bad record among others does not fail a run.
    let mixed = folder.file("mixed.jsonl", format!("{{}}\n{GOOD}"));
    run(&format!("run --input {mixed}"), &[]).expect(0).says("record 1 cannot be used");
    run(&format!("run --input {}", folder.file("empty.jsonl", "")), &[]).expect(0);
}

#[test]
fn an_input_that_concerns_no_baskets_is_said() {
    let folder = Folder::new();
    let searches = "{\"event\":\"search\",\"basket\":1}\n".repeat(5);
    let input = folder.file("searches.jsonl", searches);
    let done = run(&format!("run --input {input} --event-names other=*"), &[]).expect(0);
    let done = done.says(&format!("nothing of {input} concerns baskets so far: 5 events of other kinds"));
    assert!(done.summary().contains("5 others"), "{}", done.summary());
}

/// Starts a job whose standard error goes to a file that the test can read while the job runs.
fn live(folder: &Folder, flags: &str) -> (Child, impl Fn() -> String + use<>) {
    let said = folder.path("said");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
    command.args(format!("run --input - --output {} {flags}", folder.path("live.jsonl")).split_whitespace());
    command.stdin(Stdio::piped()).stderr(File::create(&said).unwrap()).env_remove("RUST_LOG");
    (command.spawn().unwrap(), move || fs::read_to_string(&said).unwrap())
}

#[test]
fn a_running_job_says_at_once_what_it_cannot_use() {
    let folder = Folder::new();
    let (mut job, said) = live(&folder, "");
    let mut stdin = job.stdin.take().unwrap();
    stdin.write_all(b"{\"item\":\"tea\"}\n").unwrap();
    wait_until("the first reject is told", || {
        said().contains("standard input, record 1 cannot be used: missing-basket")
    });
    stdin.write_all(&b"{\"item\":\"tea\"}\n".repeat(500)).unwrap();
    wait_until("that all are rejected is told", || {
        said().contains(" records of standard input could be used")
    });
    stdin.write_all(GOOD.as_bytes()).unwrap();
    drop(stdin);
    assert_eq!(job.wait().unwrap().code(), Some(0), "{}", said());
    assert_eq!(said().matches(" WARN ").count(), 2, "{}", said());
}

#[test]
fn a_job_says_how_it_begins() {
    let folder = Folder::new();
    let (mut job, said) = live(&folder, "-k 5 --measure jaccard -w 2");
    let mut stdin = job.stdin.take().unwrap();
    stdin.write_all(GOOD.as_bytes()).unwrap();
    wait_until("it has begun", || said().contains(" workers\n"));
    let beginning = format!(
        " INFO reading standard input as json; lists of 5 by jaccard go to {} every 50ms; 2 workers\n",
        folder.path("live.jsonl")
    );
    assert!(said().starts_with(&beginning), "{}", said());
    drop(stdin);
    assert!(job.wait().unwrap().success());
    // `--log warn` leaves out the reports of progress.
    let quiet = run_with_input("run --input - --log warn", &[], GOOD.as_bytes()).expect(0);
    assert_eq!((quiet.told.as_str(), quiet.stderr.lines().count()), ("", 1));
}

#[test]
fn a_file_that_was_not_read_to_its_end_is_no_success() {
    let folder = Folder::new();
    let lines: String = (0..60_000).map(|basket| GOOD.replace(":1,", &format!(":{basket},"))).collect();
    let (input, output) = (folder.file("carts.jsonl", lines), folder.path("lists.jsonl"));
    let slow = "--epoch-events 1 --max-epochs-ahead 1";
    let running = start(&format!("run --input {input} --output {output} {slow}"), &[]);
    wait_until("it works", || fs::read_to_string(&output).is_ok_and(|text| text.lines().count() > 2));
    running.terminate();
    let done = running.finish().expect(1).says("interrupted before the end of the input");
    assert!(done.stderr.contains(" events of "), "and what it did is told: {}", done.stderr);

    let running =
        start(&format!("generate --events 100000 --rate 1000 --output {}", folder.path("made")), &[]);
    wait_until("it works", || fs::metadata(folder.path("made")).is_ok_and(|made| made.len() > 0));
    running.terminate();
    running.finish().expect(1).says("interrupted after ");
}

/// A producer's clock that is ahead makes baskets look idle. The job warns of it where `--basket-idle` depends on it.
#[test]
fn a_clock_that_leaps_is_told() {
    let event = br#"{"event":"add","basket":"a","item":"tea","time":"2199-01-01T00:00:00Z"}"#;
    let leaps = "an event says 2199-01-01T00:00:00Z, which is ahead of this machine's clock";
    run_with_input("run --input - --basket-idle 72h", &[], event).expect(0).says(leaps);
    let done = run_with_input("run --input -", &[], event).expect(0);
    assert!(!done.stderr.contains("ahead of"), "nothing depends on it: {}", done.stderr);
}

/// A pipe has no known size, so a progress bar would show nothing.
#[test]
fn a_pipe_has_no_progress_bar() {
    let folder = Folder::new();
    let input = folder.file("carts.jsonl", GOOD);
    let job = format!(
        "(cat {input}; sleep 0.5) | {} run --input - --output {}",
        env!("CARGO_BIN_EXE_deltacart"),
        folder.path("lists.jsonl")
    );
    // Run by `script`, standard error looks like a terminal to the job.
    let done = Command::new("script").args(["-qec", &job, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(done) = done else {
        return skip("there is no script(1) to make a terminal");
    };
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(shown.contains("2 events of 1 record"), "{shown}");
    assert!(!shown.contains(" B of "), "{shown}");
}
