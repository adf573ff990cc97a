//! Several inputs in one run, each with its own format: topics and files side by side, with the same lists as from
//! one file. Snapshots know each input, and invalid combinations are refused.

use crate::kafka::{Broker, unused};
use crate::recovery::{Cluster, KILLS, check_history, lists_from_file};
use crate::support::{Folder, Random, canonical, events_of, lists_of_file, run, run_cluster, run_with_input};
use deltacart_inputs::generate::ShopSettings;
use std::fs;
use std::thread;
use std::time::Duration;

/// Events, each with the id of its basket.
type Events = Vec<(String, Vec<u8>)>;

/// The events of a synthetic shop, each with an id.
fn shop(events: u64) -> Events {
    let settings = ShopSettings {
        seed: 11,
        items: 300,
        users: 2000,
        open_sessions: 200,
        events: Some(events),
        ..ShopSettings::default()
    };
    events_of(settings)
}

/// The settings of the second input, whose additions have the kind `in`. Read as the first input, they would be no
/// events.
const OWN_NAMES: &str = "#json&event-names=add=in";

/// The events of a shop, divided into two inputs by basket. The second has its own word for additions.
fn parted(events: &Events) -> [Events; 2] {
    let (second, first): (Events, Events) =
        events.iter().cloned().partition(|(basket, _)| basket.bytes().map(u64::from).sum::<u64>() % 3 == 0);
    let own = |(basket, event): (String, Vec<u8>)| {
        let text = String::from_utf8(event).unwrap().replace(r#""event":"add""#, r#""event":"in""#);
        (basket, text.into_bytes())
    };
    [first, second.into_iter().map(own).collect()]
}

fn lines(events: &Events) -> Vec<u8> {
    events.iter().flat_map(|(_, event)| [event.as_slice(), b"\n"].concat()).collect()
}

/// Files of three formats, with various numbers of workers and processes.
#[test]
fn files_with_formats_of_their_own() {
    let folder = Folder::new();
    let events = shop(3000);
    let [first, second] = parted(&events);
    let rows = "basket,item\nrow 1,tea-1\nrow 1,tea-2\nrow 2,tea-1\nrow 2,tea-2\n";
    let (first, second) = (folder.file("a.jsonl", lines(&first)), folder.file("b.jsonl", lines(&second)));
    let rows = folder.file("c#1.csv", rows);
    let mut all = events;
    for (row, item) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let event = format!(r#"{{"event":"add","basket":"row {row}","item":"tea-{item}"}}"#);
        all.push((format!("row {row}"), event.into_bytes()));
    }
    let expected = lists_from_file(&folder, &all, "");
    let own = format!("{second}{OWN_NAMES}");
    let csv = format!("{rows}#csv&columns=basket=basket,item=item");
    let output = folder.path("out");
    let inputs = ["--input", &first, &own, &csv, "--output", &output, "--overwrite"];
    for flags in ["--epoch-events 100 --verify-every 3", "-w 2 --epoch 1ms", "-w 3 --verify"] {
        let done = run(&format!("run {flags}"), &inputs).expect(0);
        assert!(done.summary().contains(", 0 rejects"), "{}", done.summary());
        assert!(lists_of_file(&output) == expected, "{flags}");
    }
    let processes = run_cluster(&folder, 2, "run -w 2", &inputs);
    processes.into_iter().for_each(|process| drop(process.expect(0)));
    assert!(lists_of_file(&output) == expected);
    // The order of the inputs changes nothing here, and every input may name its format.
    let defaults = format!("{csv}&format=csv").replace("#csv&", "#");
    let inputs = ["--input", &defaults, &format!("{first}#json"), &own, "--output", &output, "--overwrite"];
    run("run --format csv --columns basket=#1,item=#2", &inputs).expect(0);
    assert!(lists_of_file(&output) == expected);
}

/// Two events of a basket are in different inputs. Within one epoch, the event with the earlier time is applied
/// first.
#[test]
fn in_an_epoch_the_earlier_time_comes_first() {
    let folder = Folder::new();
    let event = |event: &str, item: &str, minute: u32| {
        format!(
            r#"{{"event":"{event}","basket":"b","item":"{item}","time":"2026-03-01T10:{minute:02}:00Z"}}"#
        )
    };
    let adds = [event("add", "tea", 1), event("add", "mug", 3), event("add", "pot", 9)].join("\n");
    // Removes what is in the basket at that time: the mug, but not the tea, which is added later.
    let others = [event("remove", "tea", 0), event("remove", "mug", 5)].join("\n");
    let (adds, others) = (folder.file("adds", adds), folder.file("others", others));
    let output = folder.path("out");
    for inputs in [[&adds, &others], [&others, &adds]] {
        for (workers, own) in [(1, ""), (2, ""), (3, "#json")] {
            let second = format!("{}{own}", inputs[1]);
            let more = ["--input", inputs[0], &second, "--output", &output, "--overwrite"];
            run(&format!("run -w {workers} --verify"), &more).expect(0);
            let lists = lists_of_file(&output);
            assert!(lists.contains("pot") && lists.contains("tea") && !lists.contains("mug"), "{lists}");
        }
    }
}

/// A run resumes each input where it stopped, and reads an additional input from its beginning.
#[test]
fn snapshots_know_each_input() {
    let folder = Folder::new();
    let events = shop(4000);
    let [first, second] = parted(&events);
    let (output, state) = (folder.path("out"), folder.path("state"));
    let (a, b) = (folder.file("a.jsonl", lines(&first[..500].to_vec())), folder.path("b.jsonl"));
    let own = format!("{b}{OWN_NAMES}");
    let job = |inputs: &[&str], flags: &str| {
        let more = [&["--input"], inputs, &["--output", &output, "--state", &state]].concat();
        run(&format!("run {flags}"), &more)
    };
    job(&[&a], "-w 2").expect(0).says("500 records");
    // The second input is added, and then both repeat events and have more. Each event counts once, by its id.
    fs::write(&b, lines(&second[..200].to_vec())).unwrap();
    job(&[&a, &own], "-w 1").expect(0).says("of 200 records");
    fs::write(&a, lines(&[&first[..900], &first[850..]].concat())).unwrap();
    fs::write(&b, lines(&[&second[..], &second[150..]].concat())).unwrap();
    let read = first.len() - 500 + 50 + second.len() - 200 + second.len() - 150;
    let done = job(&[&a, &own], "-w 3 --verify").expect(0).says(&format!("of {read} records"));
    assert!(
        done.summary().contains(&format!("{} duplicates", 50 + second.len() - 150)),
        "{}",
        done.summary()
    );
    assert!(lists_of_file(&output) == lists_from_file(&folder, &events, ""));

    job(&[&own, &a], "").expect(1).says("was taken with other settings").says("event-names of files");
    job(&[&a], "").expect(1).says("input 2 was files and is not set");
    job(&[&a, &format!("{b}#json&basket=user")], "").expect(1).says("basket of files was auto and is user");
}

/// A snapshot that was written by a version which knew one input only.
#[test]
fn a_snapshot_of_version_2_is_read() {
    let folder = Folder::new();
    let (output, state) = (folder.path("out"), folder.path("state"));
    fs::create_dir(&state).unwrap();
    for file in fs::read_dir("tests/snapshot-2/state").unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), format!("{state}/{}", file.file_name().to_str().unwrap())).unwrap();
    }
    let inputs = ["tests/snapshot-2/carts.jsonl", "tests/snapshot-2/more.jsonl"];
    let more = folder
        .file("third.jsonl", r#"{"event":"add","basket":"ada","item":"tea","time":"2026-03-02T12:00:00Z"}"#);
    let job = |inputs: &[&str], state: &[&str]| {
        let more = [&["--input"], inputs, &["--output", &output], state].concat();
        run("run --basket-idle 720h -w 2", &more)
    };
    let state = ["--state", &state];
    job(&inputs, &state).expect(0).says("0 events of 0 records");
    let resumed = lists_of_file(&output);
    // Its own format makes the third file a separate stream.
    let third = format!("{more}#json&event-names=add=put");
    let all = [&inputs[..], &[&third]].concat();
    job(&all, &state).expect(0).says("1 event of 1 record");
    let and_more = lists_of_file(&output);
    job(&inputs, &["--overwrite"]).expect(0);
    assert_eq!(lists_of_file(&output), resumed);
    job(&all, &["--overwrite"]).expect(0);
    assert_eq!(lists_of_file(&output), and_more);
    assert_ne!(resumed, and_more);
}

#[test]
fn dead_letters_say_where_they_are_from() {
    let folder = Folder::new();
    let (a, b) = (folder.file("a.jsonl", "{\n"), folder.file("b.csv", "basket,item\nx,\n"));
    let letters = folder.path("letters");
    let own = format!("{b}#csv&columns=basket=basket,item=item");
    let more = ["--input", &a, &own, "--output", &folder.path("out"), "--dead-letter", &letters];
    // Neither file has a usable record. The run reports each, with its own reason.
    let done = run("run", &more).expect(1);
    let done =
        done.says(&format!("nothing of {a} could be used: 1 record rejected, the first as malformed: "));
    drop(done.says(&format!("nothing of {b} could be used: 1 record rejected, the first as missing-item: ")));
    let letters = fs::read_to_string(letters).unwrap();
    let mut found: Vec<[String; 2]> = letters
        .lines()
        .map(|line| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            ["file", "reason"].map(|field| letter[field].as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    assert_eq!(found, [[a, "malformed".to_owned()], [b, "missing-item".to_owned()]]);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |line: &str| run(&format!("run {line}"), &[]).expect(2);
    let brokers = "-b 127.0.0.1:1";
    refused(&format!("{brokers} --input kafka:a kafka:b kafka:a#ga4")).says("--input names kafka:a twice");
    refused(&format!("{brokers} --input kafka:a kafka:b#gq4")).says("unknown format \"gq4\"");
    refused(&format!("{brokers} --input kafka:a kafka:b#csv"))
        .says("--input kafka:b#format=csv")
        .says("basket");
    refused("--input kafka:a kafka:b").says("-b");
    refused("--input - --input=-#ga4").says("standard input twice");
    refused("--input a.csv b.csv#json --columns basket=#1,item=#2").says("--columns");
    let state = Folder::new().path("state");
    refused(&format!("--input a.csv --input=-#ga4 --state {state}")).says("standard input");
    let csv = "kafka:b#csv&columns=basket=a,item=b";
    refused(&format!("{brokers} --input kafka:a {csv} --state {state}")).says("columns by their places");
}

/// All processes of a cluster must have the same list of inputs.
#[test]
fn another_list_on_another_process_is_refused() {
    let folder = Folder::new();
    let hosts = folder.hostfile(2);
    let (a, b) = (folder.file("a", ""), folder.file("b", ""));
    let process = |process: usize, second: &str| {
        let line = format!("run --input {a} {b}{second} -n 2 -p {process} --hostfile {hosts}");
        crate::support::start(&line, &["--output", &folder.path(&process.to_string())])
    };
    let (first, second) = (process(0, "#json&basket=user"), process(1, "#json&basket=cart"));
    first.finish().expect(1).says("--basket of input 2 (files)");
    second.finish().expect(1).says("--basket of input 2 (files)");
}

/// A pipe ends when its writer closes it, and a file beside it is read meanwhile.
#[test]
fn standard_input_beside_a_file() {
    let folder = Folder::new();
    let [first, second] = parted(&shop(1000));
    let (file, output) = (folder.file("a.jsonl", lines(&first)), folder.path("out"));
    let more = ["--input", &file, &format!("--input=-{OWN_NAMES}"), "--output", &output];
    run_with_input("run -w 2", &more, &lines(&second)).expect(0).says("of 1000 records");
    assert!(lists_of_file(&output) == lists_from_file(&folder, &shop(1000), ""));
}

/// Kills a job that reads two topics, each with its own format, at random moments while events stream into both.
#[test]
fn two_topics_survive_kills() {
    let Some(broker) = Broker::new() else { return };
    let kills = std::env::var("DELTACART_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = std::env::var("DELTACART_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Random::new(seed);
    let events = shop(40_000);
    let inputs = parted(&events);
    let folder = Folder::new();
    let topics = [broker.topic("carts"), broker.topic("orders")];
    let (output, group) = (unused("lists"), unused("group"));
    let job = format!(
        "run {} --input kafka:{} kafka:{}{OWN_NAMES} --output kafka:{output} -G {group} --epoch 10ms --slots 18",
        broker.flags, topics[0], topics[1]
    );
    let produce = |from: u64, to: u64| {
        for (topic, events) in topics.iter().zip(&inputs) {
            let place = |part: u64| (events.len() as u64 * part / kills) as usize;
            let part = &events[place(from)..place(to)];
            broker.produce(topic, part.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        }
    };
    for kill in 0..kills {
        let (workers, processes) = (1 + random.below(3), 1 + random.below(2));
        let state = format!("--state {} --snapshot-every 200ms", folder.path("state"));
        let state = if random.below(3) > 0 { &state } else { "" };
        let cluster = Cluster::start(&folder, processes as usize, &format!("{job} -w {workers} {state}"));
        let until = random.below(2000);
        thread::sleep(Duration::from_millis(until / 2));
        produce(kill, kill + 1);
        thread::sleep(Duration::from_millis(300 + until / 2));
        cluster.kill(random.below(2) as usize);
        println!("kill {kill}: {processes} processes of {workers} workers after {until} ms {state}");
    }
    let state = format!("--state {}", folder.path("state"));
    run(&format!("{job} --until-end -w 2 {state}"), &[]).expect(0);
    let seen = check_history(&broker, &output);
    assert!(canonical(&seen.lists) == lists_from_file(&folder, &events, ""), "seed {seed}");
    // One more run has nothing to publish, with the snapshot and without.
    let said = ", 0 lists changed in 0 records";
    run(&format!("{job} --until-end -w 3 {state}"), &[]).expect(0).says("0 events of 0 records").says(said);
    run(&format!("{job} --until-end -w 1"), &[]).expect(0).says(said);
}

/// A file fills the baskets, and a topic continues from there.
#[test]
fn a_file_before_a_topic() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let events = shop(3000);
    let [first, second] = parted(&events);
    let topic = broker.topic("carts");
    broker.produce(&topic, second.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let (file, output) = (folder.file("a.jsonl", lines(&first)), folder.path("out"));
    let input = format!("kafka:{topic}{OWN_NAMES}");
    let more = ["--input", &file, &input, "--until-end", "--output", &output];
    run(&format!("run {} -G {} -w 2 --verify", broker.flags, unused("group")), &more).expect(0);
    assert!(lists_of_file(&output) == lists_from_file(&folder, &events, ""));
}
