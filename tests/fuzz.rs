//! The corpora of the fuzz targets, replayed: every file of `fuzz/corpus/TARGET` and `fuzz/regressions/TARGET`.
//!
//! A regression is named after the defect, and has a line in [`REGRESSIONS`].

use deltacart::fuzz::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

/// The defects that fuzzing has found: the file of each, and a description.
const REGRESSIONS: &[(&str, &str)] = &[];

/// The largest total size of the corpora: enough for every shape of record, and small enough for the repository.
const CORPUS_BYTES_MAX: u64 = 300_000;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The files in a folder, sorted. Empty if the folder does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_was_found_is_found_no_more() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        for kind in ["corpus", "regressions"] {
            for path in files(&folder(kind).join(name)) {
                let data = fs::read(&path).unwrap();
                if panic::catch_unwind(|| target(&data)).is_err() {
                    failures.push(path);
                }
            }
        }
    }
    assert!(failures.is_empty(), "these break a law again, see above: {failures:#?}");
}

#[test]
fn every_target_has_a_corpus_and_a_fuzzer() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for name in &names {
        assert!(files(&folder("corpus").join(name)).len() >= 3, "fuzz/corpus/{name} is too small");
        let fuzzer = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(fuzzer.contains(&format!("fuzz::{name}(")), "the fuzzer {name} runs another target");
    }
    for kind in ["corpus", "regressions", "fuzz_targets"] {
        for path in files(&folder(kind)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(names.contains(name) || name.starts_with('.'), "{} is of no target", path.display());
        }
    }
    let all = names.iter().flat_map(|name| files(&folder("corpus").join(name)));
    let bytes: u64 = all.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpora have {bytes} bytes: minimise them");
}

#[test]
fn every_regression_has_its_story() {
    let told: BTreeSet<String> = REGRESSIONS.iter().map(|(path, _)| (*path).to_owned()).collect();
    let mut there = BTreeSet::new();
    for (name, _) in TARGETS {
        for path in files(&folder("regressions").join(name)) {
            there.insert(format!("{name}/{}", path.file_name().unwrap().to_str().unwrap()));
        }
    }
    assert_eq!(there, told);
}
