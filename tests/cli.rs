//! The command line as a user meets it: complete commands, exit codes, signals, pipes.

use crate::skipped::skip;
use crate::support::{
    Folder, Running, lists_of_file, lists_of_lines, run, run_with_input, start, wait_until,
};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Three sessions: two with tea and lemon, one with tea and a mug.
const CSV: &str = "session,item\na,tea\na,lemon\nb,tea\nb,mug\nc,tea\nc,lemon\n";

const CSV_LISTS: &str = r#"{"item":"lemon","recommendations":[{"item":"tea","score":0.816,"count":2}]}
{"item":"mug","recommendations":[{"item":"tea","score":0.577,"count":1}]}
{"item":"tea","recommendations":[{"item":"lemon","score":0.816,"count":2},{"item":"mug","score":0.577,"count":1}]}
"#;

const CSV_FLAGS: &str = "run --format csv --columns basket=session,item=item";

#[test]
fn csv_to_lists() {
    let folder = Folder::new();
    let (input, output) = (folder.file("carts.csv", CSV), folder.path("lists.jsonl"));
    let done = run(&format!("{CSV_FLAGS} --input {input} --output {output}"), &[]).expect(0);
    assert_eq!(lists_of_file(&output), CSV_LISTS);
    assert!(done.stdout.is_empty());
    assert_eq!(done.stderr.lines().count(), 1, "only the summary: {}", done.stderr);
    let summary = done.summary();
    assert!(summary.starts_with(
        "6 events of 7 records, 1 header, 0 rejects, 1 epoch, 3 lists changed in 3 records of "
    ));
    assert!(summary.ends_with(" s"), "{summary}");
}

/// The summary counts what a limit has removed.
#[test]
fn cuts_are_counted() {
    for engine in ["fast", "reference"] {
        for (flags, said) in [
            ("--max-item-baskets 3", "header, 0 rejects"),
            ("--max-item-baskets 2", "header, 1 item sampled at the end, 0 rejects"),
            ("--max-item-baskets 1 -w 2", "header, 2 items sampled at the end, 0 rejects"),
            ("--max-basket-items 1", "header, 3 lines evicted from full baskets, 0 rejects"),
        ] {
            let flags = format!("{CSV_FLAGS} --input - --verify --engine {engine} {flags}");
            let done = run_with_input(&flags, &[], CSV.as_bytes()).expect(0);
            assert!(done.summary().contains(said), "{flags}: {}", done.stderr);
        }
    }
}

/// Baskets expire by the times of events. Without times, none would ever expire.
#[test]
fn idle_baskets_need_times() {
    let said = "--basket-idle goes by the times of events, and the records have none";
    run_with_input(&format!("{CSV_FLAGS} --input - --basket-idle 1h"), &[], b"").expect(2).says(said);
    run_with_input("run --format fimi --input - --basket-idle 1h", &[], b"").expect(2).says(said);
    let rows = "a,tea,2026-01-31 12:00:00\na,lemon,2026-01-31 12:59:59\nb,mug,2026-01-31 13:59:59\n";
    let flags = "run --format csv --columns basket=#1,item=#2,time=#3 --input - --verify --basket-idle";
    for (idle, said) in [("1h", "1 idle basket forgotten"), ("60m", "forgotten"), ("3601s", "0 rejects")] {
        let done = run_with_input(&format!("{flags} {idle}"), &[], rows.as_bytes()).expect(0).says(said);
        assert_eq!(done.summary().contains("forgotten"), idle != "3601s", "{idle}: {}", done.stderr);
    }
}

#[test]
fn standard_input_to_standard_output() {
    let done = run_with_input(&format!("{CSV_FLAGS} --input -"), &[], CSV.as_bytes()).expect(0);
    assert_eq!(lists_of_lines(&done.stdout), CSV_LISTS);
}

#[test]
fn compressed_input() {
    let folder = Folder::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(CSV.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(CSV.as_bytes(), 1).unwrap();
    // Compression is recognised by content, not by name, on standard input as in a file.
    for (name, bytes) in [("gzip", gzip), ("zstd", zstd)] {
        let input = folder.file(name, &bytes);
        let done = run(&format!("{CSV_FLAGS} --input {input} --verify"), &[]).expect(0);
        assert_eq!(lists_of_lines(&done.stdout), CSV_LISTS, "{name} file");
        let done = run_with_input(&format!("{CSV_FLAGS} --input -"), &[], &bytes).expect(0);
        assert_eq!(lists_of_lines(&done.stdout), CSV_LISTS, "{name} on standard input");
    }
}

#[test]
fn no_input_at_all() {
    let done = run("run --input - --verify", &[]).expect(0).says("0 events of 0 records, 0 rejects");
    assert!(done.stdout.is_empty());
}

#[test]
fn failures_are_1_and_name_the_thing() {
    let folder = Folder::new();
    let input = folder.file("carts.csv", CSV);
    let missing = folder.path("missing.csv");
    run(&format!("{CSV_FLAGS} --input {missing}"), &[]).expect(1).says(&missing);
    run(&format!("{CSV_FLAGS} --input {input} {missing} -w 2"), &[]).expect(1).says(&missing);
    let nowhere = folder.path("no-such-folder/lists.jsonl");
    run(&format!("{CSV_FLAGS} --input {input} --output {nowhere}"), &[]).expect(1).says(&nowhere);
    run(&format!("{CSV_FLAGS} --input {input} --dead-letter {nowhere}"), &[]).expect(1).says(&nowhere);
    run(&format!("top --input {missing}"), &[]).expect(1).says(&missing);
    // A missing folder is reported as a missing folder, not as a missing file.
    let folder = format!("there is no folder {}", folder.path("no-such-folder"));
    run(&format!("{CSV_FLAGS} --input {nowhere}"), &[]).expect(1).says(&folder);
    run(&format!("{CSV_FLAGS} --input {input} --output {nowhere}"), &[]).expect(1).says(&folder);
    run(&format!("generate --events 5 --output {nowhere}"), &[]).expect(1).says(&folder);
}

#[test]
fn names_are_suggested_and_completed() {
    let wrong = |line: &str, said: &str| drop(run(line, &[]).expect(2).says(said));
    wrong("run --input - --measure cosin", "a similar value exists: 'cosine'");
    wrong("run --input - --format segmnt", "a similar value exists: 'segment'");
    wrong("run --input - --basket sesion", "a similar value exists: 'session'");
    wrong("run --input - --envelope upset", "a similar value exists: 'upsert'");
    wrong("run --input - --format cloudevents", "cloudevents is an envelope");
    let script = String::from_utf8(run("completions bash", &[]).expect(0).stdout).unwrap();
    assert!(script.contains("cosine jaccard dice"), "measures are completed");
    assert!(script.contains("json shopify woocommerce ga4 segment"), "formats are completed");
}

#[test]
fn places_and_numbers_that_cannot_be() {
    let wrong = |line: &str, said: &str| drop(run(line, &[]).expect(2).says(said));
    wrong("run --input - --output kafkaa:lists", "kafkaa: is no kind of place: a topic is kafka:TOPIC");
    wrong("run --input - --output s3://lists", "s3: is no kind of place");
    wrong("run --input - --dead-letter Kafka:lists", "Kafka: is no kind of place");
    wrong("run --input - -k 0", "it must be at least 1");
    wrong("run --input - -k ten", "want a whole number");
    wrong("run --input - --min-count 99999999999", "it is too large");
    wrong("run --input - --alpha half", "want a number");
    wrong("run --input carts -b localhost:1", "the topic carts is written kafka:carts");
    wrong("generate --events 5 --removes 2", "--removes");
    wrong("generate --events 5 --rate 0", "--rate");
    wrong("top --input kafka:lists", "-b/--brokers");
    let topic = "run --input kafka:carts -b localhost:1 --from";
    wrong(&format!("{topic} 1769800000"), "1769800000 is 1970-01-21T11:36:40Z; milliseconds? ");
    wrong(&format!("{topic} 1769800000"), "2026-01-30T19:06:40Z is 1769800000000");
    wrong(&format!("{topic} 1769800000000000"), "milliseconds");
    let future = format!("{topic} 2199-01-01T00:00:00Z --startup-timeout 1s");
    run(&future, &[]).expect(1).says("--from 2199-01-01T00:00:00Z is in the future");
}

/// Every flag has an effect, or is refused.
#[test]
fn flags_without_effect_are_refused() {
    let folder = Folder::new();
    let lists = folder.file("lists.jsonl", "");
    let file = format!("run --input {}", folder.file("carts.jsonl", ""));
    let topic = "run --input kafka:carts -b localhost:1";
    for (line, flags) in [
        (file.as_str(), "--measure lift --damping 20"),
        (&file, "--measure llr --alpha 0.4"),
        (&file, "--scores off --score-digits 2"),
        (&file, "--from end"),
        (&file, "--from beginning"),
        (&file, "--until-end"),
        (&file, "--metadata-refresh 5s"),
        (&file, "-G group"),
        (&file, "-b localhost:1"),
        (&file, "-X a=b"),
        (&file, "-F properties"),
        (&file, "--startup-timeout 1s"),
        (&file, "--output-partitions 4"),
        (&file, "--delivery at-least-once"),
        (&file, "--job shop"),
        (&file, "--slots 64"),
        (&file, "--max-epoch-events 10"),
        (&file, "--max-epoch-bytes 10"),
        (&file, "--state snapshots --on-expired fail"),
        (&file, "--format fimi --event-names add=cart"),
        (&file, "--hostfile hosts"),
        (&file, "--listen 127.0.0.1:0"),
        (&file, "--cluster-secret-file secret"),
        (&file, "--join-timeout 5s"),
        (&file, "--peer-timeout 5s"),
        (topic, "--output kafka:lists --delivery at-least-once --job shop"),
        (topic, "--output kafka:lists --overwrite"),
        ("generate --events 5", "--partitions 4"),
        ("generate --events 5", "-b localhost:1"),
        ("generate --events 5 --output kafka:carts -b localhost:1", "-G group"),
        ("generate --events 5 --output kafka:carts -b localhost:1", "--overwrite"),
        (&format!("top --input {lists}"), "--follow"),
        (&format!("top --input {lists}"), "-b localhost:1"),
        (&format!("top --input {lists}"), "--item tea --limit 5"),
        (&format!("top --input {lists}"), "--item tea --sort item"),
    ] {
        run(&format!("{line} {flags}"), &[]).expect(2).says(" has no effect: it goes with ");
    }
    // A template for one process or many may set the flags of clusters.
    run(&format!("{file} -n 1 -p 0 --join-timeout 5s --peer-timeout 5s"), &[]).expect(0);
}

#[test]
fn wrong_settings_are_2_and_name_the_flag() {
    let folder = Folder::new();
    let input = folder.file("carts.csv", CSV);
    let hosts = folder.file("one-host", "localhost:1\n");
    let wrong = |flags: &str, named: &str| {
        drop(run(&format!("{CSV_FLAGS} --input {input} {flags}"), &[]).expect(2).says(named))
    };
    wrong("--measure tanimoto", "--measure");
    wrong("--top-k 0", "--top-k");
    wrong("--top-k 1001", "--top-k");
    wrong("--alpha 1.5", "--alpha");
    wrong("--alpha NaN", "--alpha");
    wrong("--damping=-1", "--damping");
    wrong("--damping inf", "--damping");
    wrong("--score-digits 10", "--score-digits");
    wrong("--workers 0", "--workers");
    wrong("-n 2 -p 2", "-p 2");
    wrong("-p 1", "-n 2");
    wrong(&format!("-n 2 --hostfile {hosts}"), "one-host");
    wrong("-n 2 --hostfile /no/such/hosts", "/no/such/hosts");
    wrong("--epoch 1s --epoch-events 5", "--epoch-events");
    wrong("--epoch 0ms", "--epoch");
    wrong("--until-end", "--until-end");
    wrong("--from end", "--from");
    wrong("--output lists --dead-letter lists", "--dead-letter");
    wrong("--output kafka:", "topic");
    wrong("--output kafka:lists", "--brokers");
    wrong("--basket order", "order");
    wrong("--max-record-bytes 0", "--max-record-bytes");
    wrong("--no-such-flag", "--no-such-flag");
    run(&format!("run --format csv --input {input}"), &[]).expect(2).says("--columns");
    run("run --input - --epoch-events 5", &[]).expect(2).says("--epoch-events");
    for (places, flags) in [
        ("--input kafka:a --output kafka:a", "--input and --output cannot both be kafka:a"),
        ("--input kafka:a --output kafka:b --dead-letter kafka:a", "--input and --dead-letter cannot"),
        ("--input - --output kafka:b --dead-letter kafka:b", "--output and --dead-letter cannot"),
    ] {
        run(&format!("run {places} -b localhost:1"), &[]).expect(2).says(flags);
    }
    run("run --input kafka:carts kafka:carts -b localhost:1", &[]).expect(2).says("--input");
    run("run", &[]).expect(2).says("--input");
    run("", &[]).expect(2);
}

#[test]
fn top_prints_a_table() {
    let folder = Folder::new();
    let (input, output) = (folder.file("carts.csv", CSV), folder.path("lists.jsonl"));
    for envelope in ["upsert", "changes", "debezium"] {
        let flags =
            format!("{CSV_FLAGS} --input {input} --output {output} --envelope {envelope} --overwrite");
        run(&flags, &[]).expect(0);
        let all = run(&format!("top --input {output}"), &[]).expect(0);
        let all = String::from_utf8(all.stdout).unwrap();
        let rows: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 5, "{envelope}: {all}");
        assert_eq!(rows[0], ["item", "rank", "neighbour", "score", "count"]);
        let first = |item: &str| rows.iter().position(|row| row[0] == item);
        assert_eq!(rows[first("tea").unwrap()], ["tea", "1", "lemon", "0.816", "2"], "{envelope}: {all}");
        assert!(first("lemon") < first("tea") && first("tea") < first("mug"), "by support, then id: {all}");
        let one = run(&format!("top --input {output} --item mug"), &[]).expect(0);
        let one = String::from_utf8(one.stdout).unwrap();
        assert_eq!(one.lines().count(), 2, "{envelope}: {one}");
        assert!(one.contains("0.577") && !one.contains("lemon"), "{envelope}: {one}");
    }
}

#[test]
fn help_names_every_flag() {
    let help = run("run --help", &[]).expect(0);
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--input",
        "--format",
        "--basket",
        "--columns",
        "--event-names",
        "--delimiter",
        "--from",
        "--until-end",
        "--measure",
        "--top-k",
        "--min-count",
        "--alpha",
        "--damping",
        "--engine",
        "--verify",
        "--verify-every",
        "--output",
        "--envelope",
        "--scores",
        "--score-digits",
        "--dead-letter",
        "--epoch",
        "--epoch-events",
        "--brokers",
        "--group",
        "--workers",
        "--processes",
        "--process",
        "--hostfile",
        "--metrics",
        "--log",
        "--log-format",
        "-X",
        "-F",
        "Exit codes",
    ] {
        assert!(help.contains(flag), "run --help lacks {flag}");
    }
    let help = run("--help", &[]).expect(0);
    let help = String::from_utf8(help.stdout).unwrap();
    for command in ["run", "demo", "generate", "top", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "--help lacks {command}");
    }
    run("--version", &[]).expect(0);
}

#[test]
fn completions_are_scripts() {
    let script = run("completions bash", &[]).expect(0).stdout;
    assert!(String::from_utf8_lossy(&script).contains("--verify-every"));
    let Ok(mut bash) = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn() else {
        skip("no bash here to read it");
        return;
    };
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        assert!(!run(&format!("completions {shell}"), &[]).expect(0).stdout.is_empty());
    }
    run("completions tcsh", &[]).expect(2);
}

/// Messages go to logs, which more people read than the one who typed the command.
#[test]
fn secrets_are_not_repeated() {
    let folder = Folder::new();
    let properties = |line: &str| folder.file("properties", format!("{line}\n"));
    let credentials = "host:port without a user and a password";
    for (flags, said) in [
        ("-b user:hunter2@localhost:9092".to_owned(), credentials),
        ("-b localhost:9092,SASL_SSL://user:hunter2@localhost:9093".to_owned(), credentials),
        ("-X bootstrap.servers=user:hunter2@localhost:9092".to_owned(), credentials),
        ("-b localhost:9092 -X consumer.bootstrap.servers=user:hunter2@localhost".to_owned(), credentials),
        (format!("-F {}", properties("metadata.broker.list=user:hunter2@localhost")), credentials),
        ("-b localhost:9092 -X hunter2".to_owned(), "not of the form name=value"),
        ("-b localhost:9092 sasl.password=hunter2".to_owned(), "unexpected argument 'sasl.password=…'"),
        ("-b localhost:9092 --sasl.password=hunter2".to_owned(), "unexpected argument '--sasl.password"),
    ] {
        for command in ["run --input kafka:carts", "top --input kafka:lists", "generate --output kafka:carts"]
        {
            let done = run(&format!("{command} --log debug {flags}"), &[]).says(said);
            assert!(!done.stderr.contains("hunter2"), "{command} {flags}: {}", done.stderr);
            assert_ne!(done.status.code(), Some(0));
        }
    }
}

/// The job warns of a file with a secret that everybody on the machine can read.
#[cfg(unix)]
#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let mode = |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let folder_itself = folder.path("");
    let secret = folder.file("secret", "a secret that nobody guesses");
    let properties = folder.file("properties", "# a login\nsasl.password=hunter2\n");
    let harmless = folder.file("harmless", "client.id=shop\n");
    let input = folder.file("carts.csv", CSV);
    let job = format!("{CSV_FLAGS} --input {input} -n 1 --cluster-secret-file {secret}");
    // No broker listens at this address.
    let top = format!("top -b 127.0.0.1:1 --startup-timeout 1ms --input kafka:lists -F {properties}");
    let said = |path: &str| {
        format!("{path} holds a secret, and everybody on this machine can read it: chmod o-r {path}")
    };
    for (file, folder_mode, warns) in [(0o644, 0o755, true), (0o640, 0o755, false), (0o644, 0o700, false)] {
        mode(&folder_itself, folder_mode);
        for (path, command) in [(&secret, &job), (&properties, &top)] {
            mode(path, file);
            let done = run(command, &[]);
            assert_eq!(done.stderr.contains(&said(path)), warns, "{file:o} {folder_mode:o}: {}", done.stderr);
            assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
        }
    }
    mode(&folder_itself, 0o755);
    let done =
        run(&format!("top -b 127.0.0.1:1 --startup-timeout 1ms --input kafka:lists -F {harmless}"), &[]);
    assert!(!done.stderr.contains("holds a secret"), "{}", done.stderr);
}

/// Starts a job on two items in each of five baskets. Its input stays open.
fn start_live(folder: &Folder, flags: &str) -> (Running, ChildStdin, String) {
    let output = folder.path("lists.jsonl");
    let mut running = start(&format!("run --input - --output {output} {flags}"), &[]);
    let mut stdin = running.stdin();
    for basket in 0..5 {
        writeln!(stdin, r#"{{"basket":{basket},"items":[{{"item":"tea"}},{{"item":"lemon"}}]}}"#).unwrap();
    }
    stdin.flush().unwrap();
    (running, stdin, output)
}

#[test]
fn lists_appear_while_the_input_is_open_and_sigterm_ends_in_good_order() {
    for flags in ["", "-w 2", "--verify --epoch 5ms --envelope changes"] {
        let folder = Folder::new();
        let (running, mut stdin, output) = start_live(&folder, flags);
        // Waits for whole records, line ends included.
        wait_until("lists of both items", || {
            fs::read_to_string(&output).is_ok_and(|text| text.lines().count() >= 2)
        });
        // An event just before the end may count or not. The output is whole either way.
        writeln!(stdin, r#"{{"basket":"last","items":[{{"item":"tea"}},{{"item":"mug"}}]}}"#).unwrap();
        running.terminate();
        let done = running.finish().expect(0);
        assert!(done.summary().contains(" events of "), "{flags}: {}", done.stderr);
        let lists = lists_of_file(&output);
        assert!(
            lists.contains(r#""item":"tea","score":"#) && lists.contains(r#""count":5"#),
            "{flags}: {lists}"
        );
        drop(stdin);
    }
}

/// Regression: a reader of 1 KB/s takes minutes for some hundred kilobytes, and the job waited for it all that time.
#[test]
fn a_slow_reader_holds_nobody_for_long() {
    let folder = Folder::new();
    let input = many_carts(&folder);
    let job = format!("{CSV_FLAGS} --input {input} --epoch-events 100 --stop-timeout 1s");
    for (command, patience) in [(job, "1s"), ("generate --events 1000000".to_owned(), "10s")] {
        let pipe = folder.path(patience);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let running = start(&format!("{command} --output {pipe}"), &[]);
        let mut reader = fs::File::open(&pipe).unwrap();
        reader.read_exact(&mut [0; 100]).unwrap();
        // The reader continues with the rest of the pipe after the job has ended.
        thread::spawn(move || {
            while let Ok(1..) = reader.read(&mut [0; 100]) {
                thread::sleep(Duration::from_millis(100));
            }
        });
        running.terminate();
        let said = format!("the reader of {pipe} has not taken what was written within {patience}");
        running.finish().expect(1).says(&said);
    }
}

#[test]
fn the_input_may_end_before_the_first_epoch() {
    let folder = Folder::new();
    let (running, stdin, output) = start_live(&folder, "--epoch 1h");
    drop(stdin);
    running.finish().expect(0).says("5 records");
    assert_eq!(lists_of_file(&output).lines().count(), 2);
}

/// Carts whose lists are more than a pipe holds.
fn many_carts(folder: &Folder) -> String {
    let mut rows = String::from("session,item\n");
    for session in 0..2000 {
        for place in 0..4 {
            rows.push_str(&format!("{session},item-{}\n", (session * 7 + place * 31) % 500));
        }
    }
    folder.file("carts.csv", rows)
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    // As in `| head -1`, the first line is read, and then the pipe is closed long before the end.
    let folder = Folder::new();
    let input = many_carts(&folder);
    for command in [
        format!("{CSV_FLAGS} --epoch-events 100 --input {input}"),
        format!("{CSV_FLAGS} --input {input} -w 2"),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_deltacart"))
            .args(command.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with(r#"{"version":1,"item":"#), "{line}");
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        let said: String = said.lines().filter(|line| !line.starts_with(" INFO ")).collect();
        assert_eq!((done.status.code(), said.as_str()), (Some(0), ""), "{command}");
    }
}
