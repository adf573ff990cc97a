//! The binary compared with itself and with the model. Whatever the engine, the workers, the processes and the
//! envelope, the lists are the same, and at every epoch they are those of a computation from scratch.

use crate::support::{Folder, Random, lists_of_file, run, run_cluster, sample};
use deltacart::output::Envelope;
use deltacart_dataflows::Measure;
use std::fmt::Write as _;
use std::fs;

const ENVELOPES: [Envelope; 3] = [Envelope::Upsert, Envelope::Changes, Envelope::Debezium];

/// Random events of every kind over few baskets and items, so that events of the same basket and item are frequent.
/// `prefix` keeps the baskets of different files apart.
fn random_log(seed: u64, prefix: &str, events: u64) -> String {
    let mut random = Random::new(seed);
    let (mut log, mut time) = (String::new(), 0);
    for _ in 0..events {
        time += 1 + random.below(10) * random.below(10);
        let number = random.below(24);
        let (basket, user) = (format!("{prefix}{number}"), format!("{prefix}u{}", number % 7));
        let items = 1 + random.below(20);
        let item = format!("i{}", random.below(items));
        let about = format!(r#""basket":"{basket}","user":"{user}""#);
        let quantity = 1 + random.below(3);
        let event = match random.below(40) {
            0..20 => format!(r#""event":"add",{about},"item":"{item}","quantity":{quantity}"#),
            20..23 => {
                let other = random.below(20);
                format!(
                    r#""event":"add",{about},"items":[{{"item":"{item}"}},{{"item":"j{other}","quantity":2}}]"#
                )
            }
            23..27 => format!(r#""event":"remove",{about},"item":"{item}""#),
            27..29 => format!(r#""event":"remove",{about},"item":"{item}","quantity":{quantity}"#),
            29..31 => format!(r#""event":"set",{about},"item":"{item}","quantity":{}"#, quantity - 1),
            31 => format!(r#""event":"clear",{about}"#),
            32 => format!(r#""event":"purchase",{about}"#),
            33..35 => format!(r#""event":"purchase",{about},"item":"{item}""#),
            35 => format!(r#""event":"refund",{about},"item":"{item}""#),
            36 => format!(r#""event":"view",{about},"item":"{item}""#),
            37 => format!(r#""event":"forget",{about}"#),
            38 if random.below(3) == 0 => format!(r#""event":"forget","user":"{user}""#),
            _ => format!(r#""event":"add",{about},"item":"{item}","quantity":-1"#),
        };
        writeln!(log, "{{{event},\"time\":{time}}}").unwrap();
    }
    log
}

/// Two files of random events, each of which is a partition.
fn random_input(folder: &Folder, seed: u64) -> String {
    let first = folder.file("first.jsonl", random_log(seed, "a", 400));
    let second = folder.file("second.jsonl", random_log(seed + 1000, "b", 250));
    format!("{first} {second}")
}

/// Runs a job and returns the bytes of its output file.
fn output_of(folder: &Folder, flags: &str) -> Vec<u8> {
    let output = folder.path("out.jsonl");
    run(&format!("run --output {output} --overwrite {flags}"), &[]).expect(0);
    fs::read(output).unwrap()
}

/// Checks that every engine on 1 to 4 workers writes the same bytes, and agrees with the model at every epoch.
fn check_measure(measure: Measure) {
    let seed = measure.name().len() as u64 * 31 + measure as u64;
    let folder = Folder::new();
    let input = random_input(&folder, seed);
    let job = format!("--input {input} --epoch-events 23 --measure {} -k 4 --verify-every 1", measure.name());
    let mut expected = None;
    for engine in ["fast", "reference"] {
        for workers in 1..=4 {
            let got = output_of(&folder, &format!("{job} --engine {engine} -w {workers}"));
            assert!(got.len() > 1000, "{measure:?} writes {} bytes", got.len());
            let expected = expected.get_or_insert_with(|| got.clone());
            assert!(
                *expected == got,
                "{measure:?}, seed {seed}: {engine} -w {workers} writes something else"
            );
        }
    }
}

#[test]
fn cosine() {
    check_measure(Measure::Cosine);
}

#[test]
fn jaccard() {
    check_measure(Measure::Jaccard);
}

#[test]
fn dice() {
    check_measure(Measure::Dice);
}

#[test]
fn llr() {
    check_measure(Measure::Llr);
}

#[test]
fn lift() {
    check_measure(Measure::Lift);
}

#[test]
fn npmi() {
    check_measure(Measure::Npmi);
}

#[test]
fn confidence() {
    check_measure(Measure::Confidence);
}

#[test]
fn count() {
    check_measure(Measure::Count);
}

/// All envelopes add up to the same lists, with scores and without, on any number of workers.
#[test]
fn envelopes_add_up_to_the_same_lists() {
    let folder = Folder::new();
    let input = random_input(&folder, 7);
    let output = folder.path("out.jsonl");
    for measure in Measure::ALL {
        for scores in ["on", "off"] {
            let mut expected = None;
            for (envelope, workers) in ENVELOPES.into_iter().zip([1, 2, 3]) {
                let flags =
                    format!("--measure {} --scores {scores} --envelope {}", measure.name(), envelope.name());
                output_of(
                    &folder,
                    &format!("--input {input} --epoch-events 40 -w {workers} --verify {flags}"),
                );
                let got = lists_of_file(&output);
                assert!(got.lines().count() > 10, "{flags}: {got}");
                assert_eq!(got.contains(r#""score""#), scores == "on", "{flags}");
                assert_eq!(*expected.get_or_insert_with(|| got.clone()), got, "{flags}");
            }
        }
    }
}

/// The final lists do not depend on how the input is cut into epochs.
#[test]
fn cuts_do_not_show() {
    let folder = Folder::new();
    let input = random_input(&folder, 11);
    let output = folder.path("out.jsonl");
    let mut expected = None;
    for cut in
        ["--epoch-events 1", "--epoch-events 7", "--epoch-events 1000000", "--epoch 1ms", "--epoch 1h -w 3"]
    {
        output_of(&folder, &format!("--input {input} {cut} --measure llr --verify"));
        let got = lists_of_file(&output);
        assert_eq!(*expected.get_or_insert_with(|| got.clone()), got, "{cut}");
    }
}

/// Two processes of two workers write the same bytes as one worker. Process 0 writes the file.
#[test]
fn processes_write_the_same_bytes() {
    let folder = Folder::new();
    let input = random_input(&folder, 13);
    let job = format!("--input {input} --epoch-events 31 --verify-every 1");
    for more in
        ["", "--measure llr --envelope changes", "--engine reference --envelope debezium --scores off"]
    {
        let expected = output_of(&folder, &format!("{job} {more}"));
        let output = folder.path("cluster.jsonl");
        let done =
            run_cluster(&folder, 2, &format!("run --output {output} --overwrite {job} {more} -w 2"), &[]);
        for process in done {
            process.expect(0);
        }
        assert!(fs::read(output).unwrap() == expected, "{more}: two processes write something else");
    }
}

/// Every setting that changes lists, compared with the model.
#[test]
fn settings_of_lists() {
    let folder = Folder::new();
    let input = random_input(&folder, 17);
    for flags in [
        "--alpha 0.2",
        "--alpha 1 --damping 20",
        "--damping 0.5 --score-digits 0",
        "--min-count 3",
        "-k 1 --score-digits 9",
        "-k 1000 --measure npmi",
        "--max-basket-items 3",
        "--max-basket-items 1",
        "--max-item-baskets 3",
        "--max-item-baskets 10 --measure llr --min-count 5",
        "--max-item-baskets 1 --max-basket-items 4 --measure count",
        "--basket user",
        "--basket-idle 300ms",
        "--basket-idle 1s --max-item-baskets 4 --max-basket-items 3 --measure llr",
    ] {
        let job = format!("--input {input} --epoch-events 37 --verify-every 1 {flags}");
        let expected = output_of(&folder, &job);
        let got = output_of(&folder, &format!("{job} --engine reference -w 2"));
        assert!(expected == got, "{flags}: the engines differ");
    }
}

/// The sample that a person can follow by hand, as JSON and as CSV.
#[test]
fn the_sample() {
    let folder = Folder::new();
    let output = folder.path("out.jsonl");
    let csv = "--format csv --columns basket=session,event=event,item=item,quantity=quantity";
    for cut in ["--epoch-events 1", "--epoch-events 100"] {
        output_of(&folder, &format!("--input {} --verify-every 1 {cut}", sample("carts.jsonl")));
        let lists = lists_of_file(&output);
        output_of(&folder, &format!("--input {} --verify-every 1 {cut} {csv}", sample("carts.csv")));
        assert_eq!(lists_of_file(&output), lists);
        // Anna bought tea and lemon. Of three items, Cleo has only tea left, and Ben has none.
        let entry = |item: &str, other: &str| {
            format!(r#"{{"item":"{item}","recommendations":[{{"item":"{other}","score":0.707,"count":1}}]}}"#)
        };
        assert_eq!(lists, format!("{}\n{}\n", entry("lemon", "tea"), entry("tea", "lemon")));
    }
}

/// Carts and users are answered the same by any number of workers and processes, and at every epoch as the plain model
/// says: `--verify-every 1` compares all open subjects.
#[test]
fn answers_are_those_of_the_model() {
    let folder = Folder::new();
    let input = random_input(&folder, 77);
    let ways = [
        "lists --combine max",
        "baskets --neighbours 5 --recent 7",
        "own --own-half-life 1h --exclude none",
        "blend --blend lists=0.5,baskets=1,own=0.2 --exclude last",
    ];
    for way in ways {
        let [carts, users] = ["carts.jsonl", "users.jsonl"].map(|name| folder.path(name));
        let job = format!(
            "--input {input} --epoch-events 41 --recommend items,carts,users --answer-by {way} --refresh 0 \
             --open-for 2s --output-carts {carts} --output-users {users} --verify-every 1"
        );
        let mut expected = None;
        for workers in 1..=4 {
            output_of(&folder, &format!("{job} -w {workers}"));
            let got = [&carts, &users].map(|path| fs::read(path).unwrap());
            assert!(got.iter().all(|bytes| bytes.len() > 500), "{way}: hardly anything is recommended");
            let expected = expected.get_or_insert_with(|| got.clone());
            assert!(*expected == got, "{way}: -w {workers} writes something else");
        }
        let output = folder.path("out.jsonl");
        run_cluster(&folder, 2, &format!("run --output {output} --overwrite {job} -w 2"), &[])
            .into_iter()
            .for_each(|process| drop(process.expect(0)));
        let got = [&carts, &users].map(|path| fs::read(path).unwrap());
        assert!(expected.as_ref() == Some(&got), "{way}: two processes write something else");
    }
}
