//! Regressions, each with its story.

use crate::support::{Folder, run};
use std::fmt::Write as _;
use std::fs;

/// A message of a differential collection may contain updates of several epochs. The time of the message is only the
/// least of them.
///
/// The job published all updates of a message as that epoch, so epochs were merged with `--engine reference -w 2`. Of
/// two changes to one list in one message, either could be published as the newer one.
#[test]
fn each_change_is_published_in_its_own_epoch() {
    let folder = Folder::new();
    let mut log = String::new();
    for event in 0..200 {
        writeln!(log, r#"{{"basket":{},"item":{}}}"#, event * 7 % 24, event * event % 11).unwrap();
    }
    let input = folder.file("log.jsonl", log);
    let output = |engine: &str| {
        let output = folder.path(engine);
        let job = format!("run --input {input} --epoch-events 10 --output {output}");
        run(&format!("{job} --engine {engine} -w 2"), &[]).expect(0);
        fs::read_to_string(output).unwrap()
    };
    assert_eq!(output("fast"), output("reference"));
}
