//! `evaluate` from outside: what it prints and writes, that it does not depend on workers, and what it refuses.

use crate::support::{Folder, Random};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

fn deltacart(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deltacart")).args(words).output().unwrap()
}

/// Runs a command that must succeed, and returns its standard output.
#[track_caller]
fn good(words: &[&str]) -> String {
    let output = deltacart(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The events of a small shop.
fn shop(folder: &Folder) -> String {
    let path = folder.path("shop.jsonl");
    good(&["generate", "--events", "6000", "--items", "200", "--users", "100", "--output", &path]);
    path
}

/// The events of a shop whose baskets have a taste each: four of the ten items that go together.
fn shop_with_tastes(folder: &Folder) -> String {
    let (mut random, mut events) = (Random::new(3), String::new());
    for basket in 0..600 {
        let (taste, user) = (random.below(20), random.below(50));
        for line in 0..4 {
            let item = taste * 10 + random.below(10);
            let time = 1_700_000_000_000_u64 + basket * 60_000 + line;
            writeln!(
                events,
                r#"{{"event":"add","basket":"b{basket}","user":"u{user}","item":"i{item}","time":{time}}}"#
            )
            .unwrap();
        }
    }
    folder.file("tastes.jsonl", events)
}

/// A metric of a method at 10.
fn at_10(report: &Value, method: &str, metric: &str) -> f64 {
    let row = report["rows"].as_array().unwrap().iter().find(|row| row["method"] == method).unwrap();
    let scores = row["scores"].as_array().unwrap();
    let score = scores.iter().find(|score| score["metric"] == metric && score["at"] == 10).unwrap();
    score["value"].as_f64().unwrap()
}

/// Items that go together in the shop are found by lists and baskets far more often than by popularity or chance.
#[test]
fn ways_beat_yardsticks_in_a_shop_with_tastes() {
    let folder = Folder::new();
    let shop = shop_with_tastes(&folder);
    let methods = ["--answer-by", "popularity", "random", "lists", "baskets", "own"];
    let common = ["evaluate", "--input", &shop, "--resamples", "50", "--json", "-"];
    let run = |workers: &str, more: &[&str]| {
        let words: Vec<&str> =
            common.iter().chain(&["-w", workers]).chain(more).chain(&methods).copied().collect();
        good(&words)
    };
    let text = run("1", &[]);
    assert_eq!(text, run("2", &[]), "the report does not depend on workers");
    let report: Value = serde_json::from_str(&text).unwrap();
    let hit_rate = |method| at_10(&report, method, "hr");
    assert!(hit_rate("lists") > hit_rate("popularity"), "{text}");
    assert!(hit_rate("baskets") > hit_rate("random"), "{text}");
    assert_eq!(report["header"]["protocol"], "cart-completion");
    assert_eq!(report["header"]["exclusion"], "cart");
    assert!(hit_rate("lists") > 0.9 && hit_rate("random") < 0.3, "{text}");
    // Every protocol finds cases in this shop.
    for protocol in ["next-item", "temporal", "leave-last-basket", "leave-last-out"] {
        let report: Value = serde_json::from_str(&run("1", &["--protocol", protocol])).unwrap();
        assert!(report["header"]["cases"].as_u64().unwrap() > 10, "{protocol}");
    }
}

#[test]
fn a_stream_has_curves_and_frozen_models() {
    let folder = Folder::new();
    let shop = shop(&folder);
    let words = ["evaluate", "--input", &shop, "--protocol", "prequential", "--freshness", "hour,week"];
    let more = ["--answer-by", "popularity", "lists", "--resamples", "20", "--json", "-"];
    let report: Value = serde_json::from_str(&good(&[&words[..], &more[..]].concat())).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    let expected = [
        "popularity",
        "lists",
        "popularity frozen each hour",
        "lists frozen each hour",
        "popularity frozen each week",
        "lists frozen each week",
    ];
    assert_eq!(names, expected);
    assert_eq!(rows[3]["compared_with"], "lists");
    assert!(rows[1]["curve"].as_array().unwrap().len() > 10);
    assert!(!rows[1]["mcnemar"].as_array().unwrap().is_empty());
}

#[test]
fn tuning_prints_flags_of_run_and_asks_the_test_part_once() {
    let folder = Folder::new();
    let shop = shop(&folder);
    let (json, csv, html) = (folder.path("r.json"), folder.path("r.csv"), folder.path("r.html"));
    let export = folder.path("candidates.csv");
    let words =
        ["evaluate", "--input", &shop, "--tune", "baskets", "--trials", "6", "--answer-by", "popularity"];
    let files = ["--json", &json, "--csv", &csv, "--html", &html, "--export", &export, "--resamples", "20"];
    let table = good(&[&words[..], &files[..]].concat());
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let flags = report["tuned"]["flags"].as_str().unwrap();
    assert!(table.contains(&format!("tuned: {flags}")), "{table}");
    assert!(flags.starts_with("--answer-by baskets"), "{flags}");
    assert_eq!(report["rows"].as_array().unwrap().len(), 2);
    assert_eq!(report["rows"][1]["method"], report["tuned"]["method"]);
    let rows = fs::read_to_string(&csv).unwrap();
    assert!(rows.starts_with("# protocol cart-completion, split 0.2, seed 1\n"), "{rows}");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"), "{page}");
    assert!(!page.contains("http-equiv") && !page.contains("<script") && !page.contains("src="), "{page}");
    let candidates = fs::read_to_string(&export).unwrap();
    let cases = report["header"]["cases"].as_u64().unwrap();
    assert!(candidates.lines().count() as u64 > cases, "every case has candidates");
    // A file that is there stays.
    let output = deltacart(&[&words[..], &["--json", &json]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--overwrite replaces it"));
}

/// A pair of files: what cannot be used of either is counted with its reason.
#[test]
fn lines_that_cannot_be_used_are_counted() {
    let folder = Folder::new();
    let train = "SessionId\tItemId\tTime\n1\ttea\t100\n1\tmilk\t101\n2\ttea\t102\n2\tmilk\t103\n3\t\t104\n";
    let train = folder.file("train.tsv", train);
    let test = folder.file("test.tsv", "tea\tmilk\ntea\n\tmilk\nmilk\tnever-seen\n");
    let columns = "basket=SessionId,item=ItemId,time=Time";
    let table = good(&[
        "evaluate",
        "--train",
        &train,
        "--format",
        "csv",
        "--delimiter",
        "tab",
        "--columns",
        columns,
        "--protocol",
        "pair",
        "--test",
        &test,
        "--answer-by",
        "lists",
        "--at",
        "1",
        "--resamples",
        "0",
    ]);
    assert!(
        table.contains("asked: 2 cases of 2 lines; in 1 of them nothing of the truth was known"),
        "{table}"
    );
    assert!(table.contains("not asked: 2 lines that are not items, a tab and items"), "{table}");
    assert!(table.contains("rejected: 1 records"), "{table}");
    let row = table.lines().find(|line| line.starts_with("lists")).unwrap();
    assert!(row.contains("0.5000"), "{table}");
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let folder = Folder::new();
    let shop = shop(&folder);
    for (words, code, says) in [
        (&["--protocol", "pair"][..], 2, "needs --test"),
        (&["--split", "2"][..], 2, "a share is above 0 and below 1"),
        (&["--freshness", "day"], 2, "--freshness has no effect"),
        (&["--min-baskets", "3"], 2, "--min-baskets has no effect"),
        (&["--answer-by", "basket"], 2, "unknown method"),
        (&["--answer-by", "lists", "--baseline", "own"], 2, "is none of the methods"),
        (&["--sample", "0"], 2, "--sample must be above 0"),
        (&["--at", "0"], 2, "--at wants numbers from 1"),
        (&["--split", "2099-01-01"], 1, "leaves no event behind it"),
    ] {
        let output = deltacart(&[&["evaluate", "--input", &shop][..], words].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
    let output = deltacart(&["evaluate", "--input", "kafka:carts"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("name files"));
}
