//! No command line loses a file that the command reads, writes or finds.

use crate::readme::{README, commands};
use crate::support::{Folder, Random, lists_of_file, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

const EVENTS: &str = "{\"basket\":1,\"items\":[{\"item\":\"tea\"},{\"item\":\"mug\"}]}\n\
                      {\"basket\":2,\"items\":[{\"item\":\"tea\"},{\"item\":\"lemon\"}]}\n";

#[test]
fn no_file_is_read_and_written() {
    let folder = Folder::new();
    let (input, link, hard) = (folder.file("carts.jsonl", EVENTS), folder.path("link"), folder.path("hard"));
    symlink(&input, &link).unwrap();
    fs::hard_link(&input, &hard).unwrap();
    let relative = folder.path("./carts.jsonl");
    let lists = folder.path("lists.jsonl");
    for same in [&input, &relative, &link, &hard] {
        for flags in [
            format!("--output {same}"),
            format!("--output {same} --overwrite"),
            format!("--output {same} --state {}", folder.path("state")),
            format!("--output {lists} --dead-letter {same} --overwrite"),
            format!("--output {lists} --notes {same} --overwrite"),
        ] {
            let done = run(&format!("run --input {input} {flags}"), &[]).expect(2);
            assert_eq!(fs::read_to_string(&input).unwrap(), EVENTS, "{flags}");
            drop(done.says(&format!("is the file that --input {input} reads")));
        }
    }
    // `deltacart run --input carts.jsonl >> carts.jsonl`: the shell has opened the file, and the job would never end.
    let output = fs::File::options().append(true).open(&input).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
    let done = command.args(["run", "--input", &input]).stdout(output).stdin(Stdio::null()).output().unwrap();
    assert_eq!((done.status.code(), fs::read_to_string(&input).unwrap().as_str()), (Some(2), EVENTS));
    assert!(!fs::exists(&lists).unwrap());
}

#[test]
fn no_file_is_written_twice() {
    let folder = Folder::new();
    let input = folder.file("carts.jsonl", EVENTS);
    let (lists, other) = (folder.path("lists.jsonl"), folder.path("./lists.jsonl"));
    // A link to a file that does not exist yet.
    symlink("lists.jsonl", folder.path("link")).unwrap();
    for letters in [&lists, &other, &folder.path("link")] {
        let done =
            run(&format!("run --input {input} --output {lists} --dead-letter {letters}"), &[]).expect(2);
        drop(done.says("--output").says("--dead-letter"));
    }
    run(&format!("run --input {input} --output - --dead-letter -"), &[]).expect(2).says("cannot both be -");
    for notes in [&lists, &other, &folder.path("link")] {
        for flag in ["--output", "--dead-letter"] {
            let elsewhere = if flag == "--output" { "" } else { "--output -" };
            let line = format!("run --input {input} {elsewhere} {flag} {lists} --notes {notes}");
            drop(run(&line, &[]).expect(2).says(flag).says("--notes"));
        }
    }
    assert!(!fs::exists(&lists).unwrap());
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_that_is_asked_for() {
    let folder = Folder::new();
    let input = folder.file("carts.jsonl", EVENTS);
    let good = folder.file("good.jsonl", "hard to make again\n");
    let kept = |line: &str, code: i32| {
        let done = run(line, &[]).expect(code);
        assert_eq!(fs::read_to_string(&good).unwrap(), "hard to make again\n", "{line}");
        done
    };
    kept(&format!("run --input {input} --output {good}"), 2).says("--overwrite");
    kept(&format!("run --input {input} --dead-letter {good}"), 2).says("--overwrite");
    kept(&format!("run --input {input} --notes {good}"), 2).says("--overwrite");
    kept(&format!("generate --events 5 --output {good}"), 2).says("--overwrite");
    // A file with other content is not resumed either.
    let state = format!("--state {}", folder.path("state"));
    kept(&format!("run --input {input} --output {good} {state}"), 1).says("is not a file of lists");
    let lists = folder.path("lists.jsonl");
    kept(&format!("run --input {input} --output {lists} --dead-letter {good} {state}"), 1)
        .says("is not a file of dead letters");
    kept(&format!("run --input {input} --output {lists} --notes {good} {state}"), 1)
        .says("is not a file of notes");
    // A run that cannot start replaces nothing.
    let typo = folder.path("typo.jsonl");
    for overwrite in ["", "--overwrite"] {
        kept(
            &format!("run --input {typo} --output {good} {overwrite}"),
            if overwrite.is_empty() { 2 } else { 1 },
        );
    }
    kept(
        &format!("run --input kafka:carts -b localhost:1 --startup-timeout 1s --output {good} --overwrite"),
        1,
    );
    // A file that no run has written is not replaced, even with `--overwrite`: its name may be a mistake.
    kept(&format!("run --input {input} --output {good} --overwrite"), 1).says("is not a file of lists");
    kept(&format!("generate --events 5 --output {good} --overwrite"), 1).says("is not a file of events");
    // A file that a run has written is replaced.
    for envelope in ["upsert", "changes", "debezium", "upsert"] {
        let flags = format!("--output {lists} --envelope {envelope} --overwrite");
        run(&format!("run --input {input} {flags}"), &[]).expect(0);
        assert_eq!(lists_of_file(&lists).lines().count(), 3, "{envelope}");
    }
    let (notes, fresh) = (folder.path("notes.jsonl"), folder.path("fresh.jsonl"));
    let odd = format!("{EVENTS}{{\"event\":\"remove\",\"basket\":1,\"item\":\"none\"}}\n");
    let odd = folder.file("odd.jsonl", odd);
    for _ in 0..2 {
        let flags = format!("--output {lists} --notes {notes} --overwrite");
        run(&format!("run --input {odd} {flags}"), &[]).expect(0);
        assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), 1);
    }
    // Lists are no notes, and notes are no lists.
    for (output, notes) in [(&notes, &fresh), (&fresh, &lists)] {
        let flags = format!("--output {output} --notes {notes} --overwrite");
        run(&format!("run --input {input} {flags}"), &[]).expect(1).says("is not a file of");
    }
    let made = folder.path("made.jsonl");
    for events in [7, 5] {
        run(&format!("generate --events {events} --output {made} --overwrite"), &[]).expect(0);
        assert_eq!(fs::read_to_string(&made).unwrap().lines().count(), events);
    }
    // Replacing an empty file loses nothing.
    let empty = folder.file("empty.jsonl", "");
    run(&format!("run --input {input} --output {empty}"), &[]).expect(0);
}

/// With `--state`, a run resumes where another stopped, and keeps the dead letters of the earlier run.
#[test]
fn dead_letters_are_added_to_by_a_run_that_goes_on() {
    let folder = Folder::new();
    let input = folder.file("carts.jsonl", format!("{EVENTS}not JSON\n"));
    let letters = folder.path("letters.jsonl");
    let job =
        format!("run --input {input} --dead-letter {letters} --state {} --output", folder.path("state"));
    let lists = folder.path("lists.jsonl");
    run(&format!("{job} {lists}"), &[]).expect(0);
    let first = fs::read_to_string(&letters).unwrap();
    assert_eq!(first.lines().count(), 1);
    fs::write(&input, format!("{EVENTS}not JSON\nnor this\n")).unwrap();
    run(&format!("{job} {lists}"), &[]).expect(0);
    let all = fs::read_to_string(&letters).unwrap();
    assert!(all.starts_with(&first) && all.lines().count() == 2, "{all}");
}

/// The README's commands that read and write files, in random order, with one name replaced by another.
#[test]
fn no_typo_in_the_readmes_commands_loses_a_file() {
    let lines: Vec<Vec<&str>> = commands(README)
        .into_iter()
        .filter(|words| !words.iter().any(|word| word.contains("kafka:")))
        .filter(|words| words[1] == "run" || words[1] == "generate")
        .collect();
    assert!(lines.len() >= 3, "{lines:?}");
    let is_name =
        |words: &[&str], at: usize| ["--input", "--output", "--dead-letter"].contains(&words[at - 1]);
    let mut names: Vec<&str> = lines
        .iter()
        .flat_map(|words| (1..words.len()).filter(|&at| is_name(words, at)).map(|at| words[at]))
        .collect();
    names.sort_unstable();
    names.dedup();
    let folder = Folder::new();
    let content = |name: &str| match name {
        "retail.dat" => "1 2 3\n2 3\n".to_owned(),
        _ => "session,sku,type,n\na,tea,cart,1\na,mug,cart,1\n".to_owned(),
    };
    let mut found: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let is_made = |name: &str| name.ends_with(".jsonl");
    for name in names.iter().filter(|name| !is_made(name)) {
        folder.file(name, content(name));
        found.insert(name, content(name).into_bytes());
    }
    let (mut random, mut runs) = (Random::new(20), 0);
    for _ in 0..60 {
        let mut words = lines[random.below(lines.len() as u64) as usize].clone();
        let places: Vec<usize> = (1..words.len()).filter(|&at| is_name(&words, at)).collect();
        let typo = places[random.below(places.len() as u64) as usize];
        words[typo] = names[random.below(names.len() as u64) as usize];
        let overwrites = random.below(3) == 0;
        words.extend(overwrites.then_some("--overwrite"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
        let done =
            command.args(&words[1..]).current_dir(folder.path(".")).stdin(Stdio::null()).output().unwrap();
        runs += usize::from(done.status.success());
        // A file that a run has written is safe like the others, except that `--overwrite` may replace it.
        for name in names.iter().filter(|name| is_made(name)) {
            match fs::read(folder.path(name)) {
                // An empty file has nothing to lose.
                Ok(made) if made.is_empty() && (overwrites || !found.contains_key(name)) => {
                    drop(found.remove(name))
                }
                Ok(made) if overwrites => drop(found.insert(name, made)),
                Ok(made) => {
                    found.entry(name).or_insert(made);
                }
                Err(_) => assert!(!found.contains_key(name), "{name} after {}", words.join(" ")),
            }
        }
        for (name, content) in &found {
            assert_eq!(&fs::read(folder.path(name)).unwrap(), content, "{name} after {}", words.join(" "));
        }
    }
    assert!(runs > 0, "one of them runs");
}
