//! A job stops and resumes from its snapshots: with other workers, after a kill, with damaged files. If it cannot
//! resume, it reports why. The final lists are those of a job that never stopped.

use crate::support::{Folder, lists_of_file, run, run_cluster, run_with_input, start, wait_until};
use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

const EPOCHS: &str = "--epoch-events 100";

/// Lines of a shop's events, each with an id.
fn events(count: usize) -> Vec<String> {
    let line = format!("generate --events {count} --seed 11 --items 60 --users 80");
    let text = String::from_utf8(run(&line, &[]).expect(0).stdout).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines.len() > count / 4 && lines.iter().all(|line| line.contains("\"id\":")), "{}", lines[0]);
    lines
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The lists of these events, from a job without snapshots.
fn lists(folder: &Folder, lines: &[String]) -> String {
    let (input, output) = (folder.file("whole", text(lines)), folder.path("whole-lists"));
    run("run", &["--input", &input, "--output", &output]).expect(0);
    lists_of_file(&output)
}

/// The names of the files in the folder of snapshots, without hidden ones.
fn snapshots(state: &str) -> Vec<String> {
    // The folder may not exist yet: then there are none.
    let names = fs::read_dir(state).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn goes_on_with_other_workers_where_it_stopped() {
    let folder = Folder::new();
    let (input, output, state) = (folder.path("in"), folder.path("out"), folder.path("state"));
    let mut lines = events(4000);
    // Events that come again in a later run are recognised by their ids.
    let again = lines[..300].to_vec();
    lines.extend(again);
    let expected = lists(&folder, &lines);
    let steps = [(1500, "-w 2"), (1500, "-w 1"), (2800, "-w 3 -k 2 --measure count"), (lines.len(), "-w 2")];
    let mut kept = Vec::new();
    for (number, (end, flags)) in steps.into_iter().enumerate() {
        fs::write(&input, text(&lines[..end.min(lines.len())])).unwrap();
        let line = format!("run --verify {EPOCHS} {flags}");
        run(&line, &["--input", &input, "--output", &output, "--state", &state]).expect(0);
        let before = std::mem::replace(&mut kept, snapshots(&state));
        match number {
            0 => assert_eq!(kept.len(), 3, "two parts and a manifest: {kept:?}"),
            1 => assert_eq!(kept, before, "nothing has come, and nothing is written"),
            _ => assert_ne!(kept, before),
        }
    }
    assert_eq!(lists_of_file(&output), expected);
}

#[test]
fn goes_on_after_kills() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let lines = events(6000);
    let expected = lists(&folder, &lines);
    let input = folder.file("in", text(&lines));
    let flags = ["--input", &input, "--output", &output, "--state", &state, "--snapshot-every", "1ms"];
    let mut taken = 0;
    for (number, patience) in [0, 10, 0, 30, 3, 90].into_iter().enumerate() {
        // Epochs by count, then by the clock.
        let epochs = ["--epoch-events 10", "--epoch 1ms --max-epoch-events 50"][number % 2];
        let newest = || snapshots(&state).into_iter().filter(|name| name.ends_with(".json")).max();
        let before = newest();
        let mut running = start(&format!("run {epochs} -w {}", 1 + number % 3), &flags);
        wait_until("a snapshot, or the end", || newest() > before || running.has_ended());
        taken += usize::from(!running.has_ended());
        thread::sleep(Duration::from_millis(patience));
        // The job is killed.
        drop(running);
    }
    assert!(taken > 0, "some were killed behind a snapshot");
    run("run --verify -w 2", &flags).expect(0);
    assert_eq!(lists_of_file(&output), expected);
    let kept = snapshots(&state);
    assert!(
        kept.iter().filter(|name| name.ends_with(".json")).count() <= 2,
        "old ones are removed: {kept:?}"
    );
}

#[test]
fn a_signal_ends_with_a_snapshot() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let lines = events(6000);
    let expected = lists(&folder, &lines);
    let input = pipe(&folder, "in");
    let flags = ["--input", &input, "--output", &output, "--state", &state, "--snapshot-every", "0"];
    let lives = [("--epoch-events 10", 2), ("--epoch 1ms --max-epoch-events 50", 3), ("--epoch 2ms", 1)];
    for (end, (epochs, workers)) in (1..).map(|life| life * 1500).zip(lives) {
        let before = snapshots(&state);
        let running = start(&format!("run {epochs} -w {workers}"), &flags);
        let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
        // When it is written, most of the input has been read. The input has not ended, so the job waits for more.
        writer.write_all(text(&lines[..end]).as_bytes()).unwrap();
        running.terminate();
        let done = running.finish().expect(0);
        assert_ne!(snapshots(&state), before, "there is no snapshot of the end: {}", done.stderr);
        drop(writer);
    }
    fs::remove_file(&input).unwrap();
    fs::write(&input, text(&lines)).unwrap();
    run("run --verify --epoch 5ms -w 2", &flags).expect(0);
    assert_eq!(lists_of_file(&output), expected);
}

/// Regression: a second job read the snapshots of a folder while the first one removed them.
#[test]
fn a_second_job_is_refused_although_the_lock_file_is_gone() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let (lines, input) = (events(500), pipe(&folder, "in"));
    let flags = ["--input", &input, "--output", &output, "--state", &state, "--snapshot-every", "20ms"];
    let first = start("run --epoch 1ms", &flags);
    let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
    writer.write_all(text(&lines).as_bytes()).unwrap();
    wait_until("a snapshot is taken", || snapshots(&state).iter().any(|name| name.ends_with(".json")));
    fs::remove_file(format!("{state}/.lock")).unwrap();
    let (whole, other) = (folder.file("whole", text(&lines)), folder.path("other"));
    let second = run("run", &["--input", &whole, "--output", &other, "--state", &state]);
    second.expect(1).says("is in use by another job; each needs a folder of its own");
    drop(writer);
    first.finish().expect(0);
    assert_eq!(lists_of_file(&output), lists(&folder, &lines));
}

/// Makes a pipe in the folder.
fn pipe(folder: &Folder, name: &str) -> String {
    let path = folder.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Views are evidence where the job says so, also after a restart. A snapshot of other evidence is refused.
#[test]
fn views_are_evidence_over_restarts() {
    let folder = Folder::new();
    let (input, output, state) = (folder.path("in"), folder.path("out"), folder.path("state"));
    let line = |kind: &str, basket: &str, item: &str| {
        format!(r#"{{"event":"{kind}","basket":"{basket}","item":"{item}"}}"#)
    };
    let mut lines = vec![line("view", "a", "tea"), line("view", "a", "mug"), line("add", "b", "tea")];
    let flags = ["--input", &input, "--output", &output, "--state", &state];
    fs::write(&input, text(&lines)).unwrap();
    let views = format!("run {EPOCHS} --evidence view,add --verify --measure count");
    run(&views, &flags).expect(0);
    let has_tea = |output: &str| lists_of_file(output).contains("tea");
    assert!(has_tea(&output), "tea and mug were viewed together");
    lines.extend([line("remove", "b", "tea"), line("view", "b", "mug"), line("forget", "a", "tea")]);
    fs::write(&input, text(&lines)).unwrap();
    run(&views, &flags).expect(0);
    assert!(!has_tea(&output), "the views of a are forgotten, and tea was never viewed in b");
    run(&format!("run {EPOCHS}"), &flags).expect(1).says("evidence was view,add and is not set");

    let plain = folder.path("plain");
    run(&format!("run {EPOCHS} --verify"), &["--input", &input, "--output", &plain]).expect(0);
    assert!(!has_tea(&plain), "by default, views count for nothing");
    run("run --evidence view,clear", &["--input", &input, "--output", &plain])
        .expect(2)
        .says("view, add, purchase");
}

/// Fifty events a second of a shop. Baskets without events for nine seconds are forgotten, however often the job is
/// stopped and killed in between.
#[test]
fn idle_baskets_are_forgotten_over_restarts() {
    let folder = Folder::new();
    let (input, output, state) = (folder.path("in"), folder.path("out"), folder.path("state"));
    let lines = events(4000);
    let idle = "--basket-idle 9s";
    let whole = folder.file("whole", text(&lines));
    let (once, reference) = (folder.path("once"), folder.path("reference"));
    let every = format!("run --verify-every 1 {EPOCHS} {idle}");
    let done = run(&every, &["--input", &whole, "--output", &once]).expect(0);
    assert!(done.says("idle baskets forgotten").summary().contains(", verified 4"), "each epoch is compared");
    run(&format!("{every} --engine reference -w 3"), &["--input", &whole, "--output", &reference]).expect(0);
    assert_eq!(fs::read(&once).unwrap(), fs::read(&reference).unwrap());
    let expected = lists_of_file(&once);
    assert_ne!(expected, lists(&folder, &lines), "some are");

    let flags = ["--input", &input, "--output", &output, "--state", &state, "--snapshot-every", "1ms"];
    for (end, workers) in [(900, 2), (1500, 1), (2800, 3), (lines.len(), 2)] {
        fs::write(&input, text(&lines[..end])).unwrap();
        let line = format!("run --epoch-events 10 {idle} -w {workers}");
        let killed = start(&line, &flags);
        thread::sleep(Duration::from_millis(70));
        drop(killed);
        run(&format!("{line} --verify"), &flags).expect(0);
    }
    assert_eq!(lists_of_file(&output), expected);
    run("run --basket-idle 10s", &flags).expect(1).says("basket-idle was 9s and is 10s");
    run("run", &flags).expect(1).says("basket-idle was 9s and is not set");
}

#[test]
fn processes_share_the_snapshots() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let mut lines = events(2000);
    // Events that concern all baskets of a user have no order between files.
    lines.retain(|line| !line.contains("\"forget\""));
    let expected = lists(&folder, &lines);
    let paths = [folder.path("first"), folder.path("second"), folder.path("third")];
    let write = |share: usize| {
        for (number, path) in paths.iter().enumerate() {
            // The events of a basket stay in one file, in their order.
            let of_file = |line: &&String| crc(line) % 3 == number;
            let lines: Vec<String> =
                lines[..lines.len() * share / 2].iter().filter(of_file).cloned().collect();
            fs::write(path, text(&lines)).unwrap();
        }
    };
    let mut flags = vec!["--input"];
    flags.extend(paths.iter().map(String::as_str));
    flags.extend(["--output", &output, "--state", &state]);
    write(1);
    run_cluster(&folder, 2, &format!("run {EPOCHS} -w 2"), &flags)
        .into_iter()
        .for_each(|done| drop(done.expect(0)));
    assert_eq!(snapshots(&state).len(), 5, "four parts and a manifest");
    write(2);
    run_cluster(&folder, 3, &format!("run {EPOCHS}"), &flags)
        .into_iter()
        .for_each(|done| drop(done.expect(0)));
    assert_eq!(lists_of_file(&output), expected);
}

/// A number for the basket of an event.
fn crc(line: &str) -> usize {
    let (_, rest) =
        line.split_once("\"basket\":\"").unwrap_or_else(|| line.split_once("\"user\":\"").unwrap());
    rest.split('"')
        .next()
        .unwrap()
        .bytes()
        .fold(7, |hash: usize, byte| (hash * 31 + usize::from(byte)) % 65_521)
}

#[test]
fn a_header_is_read_again() {
    let folder = Folder::new();
    let (input, output, state) = (folder.path("in.csv"), folder.path("out"), folder.path("state"));
    let rows: Vec<String> = (0..60).map(|row| format!("b{},i{}", row % 9, row % 7)).collect();
    let line = "run --verify --format csv --columns basket=session,item=sku";
    let flags = ["--input", &input, "--output", &output, "--state", &state];
    let mut whole = "session,sku\n".to_owned();
    for rows in rows.chunks(20) {
        whole += &text(rows);
        fs::write(&input, &whole).unwrap();
        run(line, &flags).expect(0);
    }
    let resumed = lists_of_file(&output);
    let once = folder.path("once");
    run(line, &["--input", &input, "--output", &once]).expect(0);
    assert_eq!(resumed, lists_of_file(&once));
}

#[test]
fn a_damaged_snapshot_is_passed_over_and_none_is_an_error() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let lines = events(3000);
    let expected = lists(&folder, &lines);
    let input = folder.path("in");
    let flags = ["--input", &input, "--output", &output, "--state", &state];
    for end in [1000, 2000] {
        fs::write(&input, text(&lines[..end])).unwrap();
        run("run -w 2", &flags).expect(0);
    }
    let kept = snapshots(&state);
    assert_eq!(kept.len(), 6);
    let damage = |name: &str| {
        let path = format!("{state}/{name}");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&path, bytes).unwrap();
    };
    damage(&kept[5]);
    fs::write(&input, text(&lines)).unwrap();
    let said = "snapshot-0000000002.part-0001 is damaged and not used: its checksum is wrong";
    run("run --verify", &flags).expect(0).says(said);
    assert_eq!(lists_of_file(&output), expected);
    for name in snapshots(&state).iter().filter(|name| name.ends_with(".json")) {
        damage(name);
    }
    run("run", &flags).expect(1).says("to start over at the beginning of the input, empty it");
}

#[test]
fn a_last_snapshot_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    let (pipe, output, state) = (pipe(&folder, "pipe"), folder.path("out"), folder.path("state"));
    let lines = events(500);
    let flags = ["--input", &pipe, "--output", &output, "--state", &state, "--snapshot-every", "20ms"];
    let running = start("run -w 2 --epoch 1ms", &flags);
    let mut input = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    wait_until("the folder is there", || fs::exists(&state).unwrap());
    input.write_all(text(&lines[..250]).as_bytes()).unwrap();
    wait_until("a snapshot is taken", || snapshots(&state).iter().any(|name| name.ends_with(".json")));
    fs::remove_dir_all(&state).unwrap();
    input.write_all(text(&lines[250..]).as_bytes()).unwrap();
    wait_until("a snapshot failed", || running.has_said("a snapshot failed: cannot write "));
    drop(input);
    let done = running.finish().expect(1).says("a snapshot failed: cannot write ");
    done.says("everything is published, but the last snapshot is not written: cannot write ");
    assert_eq!(lists_of_file(&output), lists(&folder, &lines), "the job went on");
}

#[test]
fn what_cannot_go_on_is_told() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    let input = folder.file("in", text(&events(500)));
    let flags = ["--input", &input, "--output", &output, "--state", &state];
    run("run", &flags).expect(0);
    let published = fs::read(&output).unwrap();
    let said = "was taken with other settings: basket was auto and is user, max-basket-items was 10000 and is 7; run with";
    run("run --max-basket-items 7 --basket user", &flags).expect(1).says(said);
    assert_eq!(fs::read(&output).unwrap(), published, "the output is as it was");
    let other = folder.file("other", "");
    run("run", &["--input", &other, "--state", &state, "--output", &output]).expect(1).says("and is ");
    fs::write(&input, "").unwrap();
    run("run", &flags).expect(1).says("it has 0 records, but ");
    run("run", &["--input", &input, "--state", &input]).expect(1).says("for snapshots: ");
    run_with_input("run --input -", &["--state", &state], b"").expect(2).says("not standard input");
    for (url, said) in [
        ("ftp://shop/carts", "ftp:// is none of them"),
        ("s3://key:hunter2@shop/carts", "they come from the environment"),
        ("gs://shop/carts?signature=hunter2", "they come from the environment"),
        ("s3:///carts", "wants the name of a bucket"),
        ("file://carts", "wants a path that begins with /"),
    ] {
        let done = run("run", &["--input", &input, "--state", url]).expect(2).says(said);
        assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    }
    #[cfg(not(feature = "object-store"))]
    run("run --state s3://shop/carts", &["--input", &input])
        .expect(2)
        .says("--state s3://… needs a build with --features object-store");
    run("run --snapshot-every 5s", &["--input", &input]).expect(2).says("--state");
}
