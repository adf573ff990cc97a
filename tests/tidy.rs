//! The habits of the code that can be checked by reading it, and nothing that is not checked.
//!
//! Files are found by walking from the root of the workspace; folders called `target` or `scratch`, and hidden ones,
//! are not entered. *Tests* are what lies in a folder called `tests`, modules included by `#[cfg(test)] mod NAME;` with
//! those below them, and items under `#[cfg(test)]`. *Code* is what is left of a Rust file without its tests and
//! without its comments.
//!
//! - Every Rust file opens with `//!`.
//! - No Rust file is over 500 lines, tests included, but for those in [`LONG_FILES`], each with its reason.
//! - No function outside tests is over 70 lines, from its `fn` to its closing brace; told by the indentation.
//! - No line of a Rust file is over 120 characters, unless it holds a quotation mark or an address (`://`).
//! - No code says `.unwrap()`.
//! - The code of `dataflows/src` and `inputs/src` does not print.
//! - Code names `rdkafka::` only under the paths in [`KAFKA_PATHS`], and `clap` only under those in [`CLAP_PATHS`].
//! - The crate `dataflows` depends on nothing but what [`DATAFLOWS_DEPENDENCIES`] lists, and its code names nothing of
//!   [`OUTSIDE`]: no clock, no disk, no network, no process.
//! - Every source file that is not a test is in the code map of `ARCHITECTURE.md`, by itself or by a folder that it is
//!   in, and what the map names is there.
//! - A test that is skipped says so through `tests/skipped.rs`, which fails where nothing may be skipped.
//! - Every module of the integration tests has its line of comment in `tests/tests.rs`.
//! - No Markdown file names a path of somebody's machine.
//! - The crate `dataflows`, its tests included, says none of [`BANNED_WORDS`] and [`BANNED_PHRASES`]: the glossary of
//!   `ARCHITECTURE.md` has the words for what they used to mean.
//!
//! Circles of modules are found in `tests/modules.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 120;

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 0] = [];

/// Where the Kafka client is known: what reads, what writes, the demo, which starts its own broker, and what measures.
const KAFKA_PATHS: [&str; 5] =
    ["inputs/src/kafka", "src/output/kafka", "src/dead_letter", "src/demo", "benches/"];

/// Where the command line is known.
const CLAP_PATHS: [&str; 4] = ["src/main.rs", "src/cli.rs", "src/cli/", "src/config.rs"];

/// The engine, and what it takes to hold, hash and score: no Kafka, no JSON, no clock, no disk.
const DATAFLOWS_DEPENDENCIES: [&str; 7] =
    ["compact_str", "differential-dataflow", "foldhash", "hashbrown", "libm", "serde", "timely"];

/// What lies outside of a dataflow. A `Duration` does not: it is a number.
const OUTSIDE: [&str; 11] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::{",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
];

/// Where the code map has its rows.
const MAP: &str = "ARCHITECTURE.md";

/// Where people keep their files.
const MACHINE_PATHS: [&str; 5] = ["/home/", "/root/", "/tmp/", "/Users/", "/work/"];

/// Words that nobody outside of this project would guess the meaning of, and what to say instead. They are banned in
/// names, also as a part of one, and in comments.
const BANNED_WORDS: [(&str, &str); 12] = [
    ("anew", "again, or rebuilt"),
    ("census", "stats"),
    ("holding", "refcounts"),
    ("settle", "what is updated"),
    ("taker", "sink"),
    ("tally", "accumulator, count"),
    ("tell", "emit, report, send"),
    ("tells", "emits, reports, sends"),
    ("tight", "compact"),
    ("told", "emitted, reported, sent"),
    ("walk", "scan"),
    ("walked", "scanned"),
];

/// Beginnings of a comment that needs the comment above it, and other phrases with a plainer word.
const BANNED_PHRASES: [(&str, &str); 4] = [
    ("/// The same,", "what it is"),
    ("/// As [`", "what it is"),
    ("goes on with", "resumes, continues"),
    ("given up", "dropped, expired, deleted"),
];

/// One Rust file.
pub(crate) struct RustFile {
    /// From the root of the workspace, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) is_test: bool,
}

#[test]
fn files_open_with_what_they_are() {
    check(|file| if file.text.starts_with("//!") { vec![] } else { vec!["does not open with `//!`".into()] });
}

#[test]
fn files_are_short() {
    check(|file| {
        let lines = file.text.lines().count();
        let excused = LONG_FILES.iter().any(|(path, _reason)| *path == file.path);
        match lines > FILE_LINES_MAX {
            true if !excused => vec![format!("has {lines} lines")],
            false if excused => vec!["is short enough now: take it off the list of long files".into()],
            _ => vec![],
        }
    });
}

#[test]
fn functions_are_short() {
    check(|file| {
        let long = functions(&code(file)).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
        long.map(|(name, at, lines)| format!("line {at}: `{name}` has {lines} lines")).collect()
    });
}

#[test]
fn lines_are_short() {
    check(|file| {
        let long = |line: &str| {
            line.chars().count() > LINE_CHARS_MAX && !line.contains('"') && !line.contains("://")
        };
        let lines = file.text.lines().enumerate().filter(|(_, line)| long(line));
        lines.map(|(index, _)| format!("line {} is too long", index + 1)).collect()
    });
}

#[test]
fn nothing_unwraps() {
    check(|file| lines_with(file, &[".unwrap()"]));
}

#[test]
fn libraries_do_not_print() {
    check(|file| {
        let is_library = ["dataflows/src/", "inputs/src/"].iter().any(|folder| file.path.starts_with(folder));
        if is_library { lines_with(file, &["print!(", "println!(", "dbg!("]) } else { vec![] }
    });
}

#[test]
fn few_files_know_kafka() {
    check(|file| if is_under(file, &KAFKA_PATHS) { vec![] } else { lines_with(file, &["rdkafka::"]) });
}

#[test]
fn few_files_know_the_command_line() {
    check(|file| {
        if is_under(file, &CLAP_PATHS) { vec![] } else { lines_with(file, &["clap::", "clap_complete::"]) }
    });
}

#[test]
fn dataflows_depends_on_little() {
    let manifest = read(&root().join("dataflows/Cargo.toml"));
    let names: BTreeSet<&str> = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert!(names.contains("timely"), "dependencies are not found where they were: {names:?}");
    let unknown: Vec<_> = names.into_iter().filter(|name| !DATAFLOWS_DEPENDENCIES.contains(name)).collect();
    assert!(unknown.is_empty(), "dataflows/Cargo.toml depends on {unknown:?}");
    // Dependencies of one platform, or in a table of their own, would not be seen above.
    assert!(
        !manifest.contains("dependencies."),
        "dataflows/Cargo.toml has dependencies outside the one list"
    );
}

#[test]
fn dataflows_know_no_outside() {
    check(|file| if file.path.starts_with("dataflows/src/") { lines_with(file, &OUTSIDE) } else { vec![] });
}

#[test]
fn dataflows_speak_plainly() {
    check(|file| if file.path.starts_with("dataflows/") { banned(&file.text) } else { vec![] });
}

/// Every banned word and phrase of a text.
fn banned(text: &str) -> Vec<String> {
    let of_line = |(index, line): (usize, &str)| {
        let words: Vec<String> = words(line);
        let word = BANNED_WORDS.into_iter().filter(|(word, _)| words.iter().any(|found| found == word));
        let phrase = BANNED_PHRASES.into_iter().filter(|(phrase, _)| line.contains(phrase));
        let complaint = |(said, instead)| format!("line {} says `{said}`, for {instead}", index + 1);
        word.chain(phrase).map(complaint).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(of_line).collect()
}

/// The words of a line in lower case. A name is as many words as it is made of.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in line.chars() {
        if !letter.is_alphabetic() || letter.is_uppercase() && was_lower {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphabetic(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words
}

#[test]
fn every_source_is_on_the_map() {
    let map = read(&root().join(MAP));
    let linked: BTreeSet<&str> = map.lines().filter(|line| line.starts_with("| ")).flat_map(links).collect();
    assert!(linked.contains("src/worker.rs"), "links are not found where they were: {linked:?}");
    let missing: Vec<&&str> = linked.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{MAP} names what is not there: {missing:?}");
    check(|file| {
        let is_source = ["src/", "inputs/src/", "dataflows/src/"].iter().any(|it| file.path.starts_with(it));
        let is_in = |folder: &&str| file.path.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        let is_mapped = linked.contains(file.path.as_str()) || linked.iter().any(is_in);
        let is_root = file.path.ends_with("src/lib.rs");
        if is_source && !is_mapped && !is_root && !file.is_test {
            return vec![format!("has no row in the code map of {MAP}, nor has a folder that it is in")];
        }
        vec![]
    });
}

/// The paths that a text in Markdown links to, without addresses and without what stands behind `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let paths = targets.map(|(target, _)| target.split('#').next().unwrap_or_default().trim_end_matches('/'));
    paths.filter(|path| !path.is_empty() && !path.contains("://"))
}

#[test]
fn skipped_tests_say_so_in_one_place() {
    const PLACE: &str = "tests/skipped.rs";
    // Parted, so that this file does not say it.
    let word = concat!("\"skip", "ped: ");
    assert!(read(&root().join(PLACE)).contains(word), "{PLACE} is not where it was");
    check(|file| {
        let may = file.path == PLACE || file.path.starts_with("benches/");
        let lines = file.text.lines().enumerate().filter(|(_, line)| !may && line.contains(word));
        lines.map(|(index, _)| format!("line {} says it by itself: use {PLACE}", index + 1)).collect()
    });
}

#[test]
fn test_modules_are_explained() {
    let list = read(&root().join("tests/tests.rs"));
    let lines: Vec<&str> = list.lines().collect();
    for pair in lines.windows(2) {
        let explained =
            pair[0].starts_with("// ") || pair[0].starts_with("/// ") || pair[0].starts_with("#[");
        assert!(!pair[1].starts_with("mod ") || explained, "tests/tests.rs: `{}` has no comment", pair[1]);
    }
}

#[test]
fn documents_name_no_machine() {
    for path in files_with_extension("md") {
        let text = read(&root().join(&path));
        for machine in MACHINE_PATHS {
            assert!(!text.contains(machine), "{path} names a path under {machine}");
        }
    }
}

/// Fails with every complaint about every file at once.
#[track_caller]
fn check(complaints: impl Fn(&RustFile) -> Vec<String>) {
    let files = rust_files();
    assert!(
        files.iter().any(|file| file.path == "dataflows/src/lib.rs"),
        "the files are not found where they were"
    );
    let all: Vec<String> = files
        .iter()
        .flat_map(|file| {
            complaints(file).into_iter().map(move |complaint| format!("{}: {complaint}", file.path))
        })
        .collect();
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

fn lines_with(file: &RustFile, words: &[&str]) -> Vec<String> {
    let code = code(file);
    let found = |line: &str| words.iter().find(|word| line.contains(**word)).copied();
    let lines = code.iter().filter_map(|(at, line)| found(line).map(|word| (at, word)));
    lines.map(|(at, word)| format!("line {at} says `{word}`")).collect()
}

fn is_under(file: &RustFile, paths: &[&str]) -> bool {
    paths.iter().any(|path| file.path.starts_with(path))
}

pub(crate) fn rust_files() -> Vec<RustFile> {
    let files: Vec<(String, String)> =
        files_with_extension("rs").into_iter().map(|path| (path.clone(), read(&root().join(path)))).collect();
    let modules: BTreeSet<String> =
        files.iter().flat_map(|(path, text)| test_modules_of(path, text)).collect();
    // The module itself, a file in the folder of its name, or a folder of tests.
    let is_test = |path: &str| {
        let stem = path.trim_end_matches(".rs");
        let mut starts = stem.match_indices('/').map(|(at, _)| &stem[..at]).chain([stem]);
        starts.any(|start| modules.contains(start) || start == "tests" || start.ends_with("/tests"))
    };
    files.into_iter().map(|(path, text)| RustFile { is_test: is_test(&path), path, text }).collect()
}

/// The modules that a file includes by `#[cfg(test)] mod NAME;`, as the paths of their files without the extension.
fn test_modules_of(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => stem,
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let included = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").filter_map(|pair| {
        let name = pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')?;
        Some(format!("{folder}/{name}"))
    });
    included.collect()
}

/// The lines of a file that are neither tests nor comments, each with its number, from 1.
pub(crate) fn code(file: &RustFile) -> Vec<(usize, String)> {
    if file.is_test {
        return vec![];
    }
    let mut lines = file.text.lines().enumerate().peekable();
    let mut code = Vec::new();
    while let Some((index, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // The item ends where a line at its indentation closes it.
            let indent = indent_of(line);
            let ends = |line: &str| indent_of(line) == indent && (line.ends_with(';') || line.ends_with('}'));
            for (_, line) in lines.by_ref() {
                if ends(line) {
                    break;
                }
            }
        } else if !line.trim_start().starts_with("//") {
            code.push((index + 1, line.split(" // ").next().unwrap_or_default().to_owned()));
        }
    }
    code
}

/// Every function with a body: its name, the number of its first line, and how many lines it has, comments included.
fn functions(code: &[(usize, String)]) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for (index, (at, first)) in code.iter().enumerate() {
        let Some(name) = function_name(first) else { continue };
        let indent = indent_of(first);
        let mut has_body = false;
        for (line_at, line) in &code[index..] {
            let is_outer = indent_of(line) == indent;
            if is_outer && line.trim_end().ends_with('}') {
                functions.push((name.to_owned(), *at, line_at - at + 1));
                break;
            }
            has_body |= is_outer && line.trim_end().ends_with('{');
            if !has_body && line.trim_end().ends_with(';') {
                break;
            }
        }
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ').peekable();
    let before =
        |word: &&str| word.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(word);
    while words.next_if(|word| before(word) || word.starts_with('"')).is_some() {}
    (words.next() == Some("fn"))
        .then(|| words.next())?
        .map(|name| name.split(['(', '<']).next().unwrap_or(name))
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Paths from the root of the workspace, in their order.
fn files_with_extension(extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "scratch" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let parts: Vec<&str> =
                    path.strip_prefix(root()).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
                found.push(parts.join("/"));
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The checks themselves can fail.
mod checks {
    use super::*;

    fn rust_file(text: &str) -> RustFile {
        RustFile { path: "src/some.rs".into(), text: text.into(), is_test: false }
    }

    #[test]
    fn functions_are_measured() {
        let text = "\
pub(crate) const fn one() {}
impl T {
    fn four(
    ) -> U {
        if a { b(); }
    }

    fn declared(&self)
    where
        T: U;
    async fn three<T>() {
        x;
    }
}
";
        let names: Vec<_> = functions(&code(&rust_file(text)));
        let expected = [("one", 1, 1), ("four", 3, 4), ("three", 11, 3)];
        assert_eq!(names, expected.map(|(name, at, lines)| (name.to_owned(), at, lines)));
    }

    #[test]
    fn banned_words_are_found() {
        let text = "/// The same, twice.\nlet retold_census = SnapshotTaker::new(intellect);";
        let expected = [
            "line 1 says `/// The same,`, for what it is",
            "line 2 says `census`, for stats",
            "line 2 says `taker`, for sink",
        ];
        assert_eq!(banned(text), expected);
    }

    #[test]
    fn tests_and_comments_are_no_code() {
        let text = "\
//! a.unwrap()
fn a() { b } // c.unwrap()
#[cfg(test)]
mod tests;
#[cfg(test)]
mod more {
    fn c() { d.unwrap() }
}
fn e() { f.unwrap() }
";
        assert_eq!(lines_with(&rust_file(text), &[".unwrap()"]), ["line 9 says `.unwrap()`"]);
        assert_eq!(test_modules_of("inputs/src/generate.rs", text), ["inputs/src/generate/tests"]);
        assert_eq!(test_modules_of("inputs/src/lib.rs", text), ["inputs/src/tests"]);
    }
}
