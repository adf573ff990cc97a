//! Topics that a command reads, writes or finds: whatever is typed, none is made by mistake, and none becomes two
//! things.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` says where a broker is.

use crate::kafka::{Broker, unused};
use crate::readme::{README, commands};
use crate::support::{Folder, Random, run};
use deltacart::output::{TopicSpec, ensure_topic};
use deltacart_inputs::RawRecord;
use deltacart_inputs::kafka::topic_partitions;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

const EVENT: &str = r#"{"event":"add","basket":"b","items":[{"item":"tea"},{"item":"mug"}]}"#;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Event,
    List,
    Note,
    DeadLetter,
}

fn kind(record: &RawRecord<'_>) -> Kind {
    if record.headers.iter().any(|(name, _)| name.starts_with("__connect.errors.")) {
        return Kind::DeadLetter;
    }
    match record.value.map(String::from_utf8_lossy) {
        Some(value) if value.starts_with(r#"{"note":"#) => Kind::Note,
        Some(value) if !value.contains(r#""recommendations""#) => Kind::Event,
        _ => Kind::List,
    }
}

/// The records of a topic, if it is there.
fn records(broker: &Broker, topic: &str) -> Option<Vec<(u32, u64, Kind)>> {
    broker.has(topic).then(|| {
        let mut found = Vec::new();
        broker.read(topic, &mut |record| found.push((record.partition, record.offset, kind(&record))));
        found
    })
}

#[test]
fn no_topic_becomes_two_things() {
    let Some(broker) = Broker::new() else { return };
    let flags = &broker.flags;
    let (carts, lists, letters) = (broker.topic("carts"), unused("lists"), unused("letters"));
    let bad = ("b", &b"{}"[..]);
    let (odd, removal) = (broker.topic("odd"), br#"{"event":"remove","basket":"b","item":"none"}"#);
    broker.produce(&odd, [("b", EVENT.as_bytes()), ("b", removal)]);
    broker.produce(&carts, [("b", EVENT.as_bytes()), bad]);
    let job = |output: &str, letters: &str| {
        format!(
            "run {flags} --input kafka:{carts} --until-end --output kafka:{output} --dead-letter kafka:{letters}"
        )
    };
    run(&job(&lists, &letters), &[]).expect(0).says("1 reject");
    let made = [&carts, &lists, &letters].map(|topic| records(&broker, topic).unwrap());
    assert!(made.iter().all(|records| !records.is_empty()), "{made:?}");
    // Another topic of events, that of another job, one's own.
    let (events, other) = (broker.topic("events"), unused("lists"));
    broker.produce(&events, [("b", EVENT.as_bytes())]);
    let others = |named: &str, what: &str| format!("kafka:{named} holds other records than {what}");
    for wrong in [&lists, &events] {
        run(&job(&other, wrong), &[]).expect(1).says(&others(wrong, "dead letters"));
        assert!(!broker.has(&other), "nothing is made before that is known");
    }
    for wrong in [&lists, &letters] {
        let line = format!("generate {flags} --output kafka:{wrong} --events 10");
        run(&line, &[]).expect(1).says(&others(wrong, "events of deltacart generate"));
    }
    for wrong in [&events, &letters] {
        run(&format!("run {flags} --input kafka:{carts} --until-end --output kafka:{wrong}"), &[]).expect(1);
    }
    let after = [&carts, &lists, &letters].map(|topic| records(&broker, topic).unwrap());
    assert_eq!(made, after);
    assert_eq!(records(&broker, &events).unwrap().len(), 1);
    // Notes go to a topic of their own, too. Nothing is made for a job whose topic of notes holds anything else.
    let (notes, fresh) = (unused("notes"), unused("lists"));
    let with_notes = |output: &str, notes: &str| {
        format!("run {flags} --input kafka:{odd} --until-end --output kafka:{output} --notes kafka:{notes}")
    };
    run(&with_notes(&lists, &notes), &[]).expect(0);
    assert_eq!(records(&broker, &notes).unwrap().iter().map(|it| it.2).collect::<Vec<_>>(), [Kind::Note]);
    for wrong in [&lists, &letters, &events] {
        run(&with_notes(&fresh, wrong), &[]).expect(1).says(&others(wrong, "notes"));
        assert!(!broker.has(&fresh), "nothing is made before that is known");
    }
    run(&with_notes(&notes, &fresh), &[]).expect(1).says(&notes).says("--output");
    run(&job(&fresh, &notes), &[]).expect(1).says(&others(&notes, "dead letters"));
    run(&format!("generate {flags} --output kafka:{notes} --events 10"), &[]).expect(1);
    for twice in [&odd, &lists] {
        run(&with_notes(&lists, twice), &[]).expect(2).says("--notes cannot both be");
    }
    // What is of the same kind goes on.
    run(&with_notes(&lists, &notes), &[]).expect(0);
    assert_eq!(records(&broker, &notes).unwrap().len(), 1);
    run(&job(&lists, &letters), &[]).expect(0);
    run(&format!("generate {flags} --output kafka:{carts} --events 10"), &[]).expect(0);
    assert_eq!(records(&broker, &letters).unwrap().len(), 2);
}

/// The README's commands on topics, in any order, with a name in the place of another or misspelt: a topic is made only
/// where something was to be written and could be, as it should be, and no record is lost or among others.
#[test]
fn no_typo_in_the_readmes_commands_leaves_a_wrong_topic() {
    let Some(broker) = Broker::new() else { return };
    const RUNS: usize = 24;
    let mut shop = Shop::new(&broker);
    let mut random = Random::new(7);
    let lines: Vec<Vec<&str>> = commands(README)
        .into_iter()
        .filter(|words| words.contains(&"localhost:9092") && !words.contains(&"--follow"))
        .collect();
    assert!(lines.len() >= 8, "{lines:?}");
    let mut succeeded = 0;
    for number in 0..RUNS {
        let words = &lines[random.below(lines.len() as u64) as usize];
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let places: Vec<usize> = (1..words.len()).filter(|&at| words[at].starts_with("kafka:")).collect();
        // Two in three have a typo.
        if random.below(3) > 0 {
            let place = places[random.below(places.len() as u64) as usize];
            words[place] = shop.mistaken(&words[place], &mut random);
        }
        succeeded += usize::from(shop.run(&words, number));
    }
    shop.check_all();
    assert!(succeeded > 2 && succeeded < RUNS, "{succeeded} of {RUNS} ran: some do, and some must not");
}

/// The topics of the README under names of this test, as they should be.
struct Shop<'a> {
    broker: &'a Broker,
    folder: Folder,
    /// Before every name.
    prefix: String,
    names: Vec<String>,
    known: BTreeMap<String, Vec<(u32, u64, Kind)>>,
}

impl<'a> Shop<'a> {
    /// Some of its topics are there from the beginning, each with its number of partitions.
    fn new(broker: &'a Broker) -> Shop<'a> {
        let names: BTreeSet<String> =
            commands(README).iter().flatten().filter_map(|word| topic_of(word)).map(str::to_owned).collect();
        let folder = Folder::new();
        folder.file("export.csv", "cart,sku\na,tea\na,mug\n");
        let mut shop = Shop {
            broker,
            folder,
            prefix: unused(""),
            names: names.into_iter().collect(),
            known: BTreeMap::new(),
        };
        for (name, partitions) in [("ga4", 1), ("segment", 2), ("orders", 3)] {
            let name = format!("{}-{name}", shop.prefix);
            ensure_topic(&broker.settings, &TopicSpec { name: &name, partitions, compacted: false }).unwrap();
            broker.produce(&name, [("b", EVENT.as_bytes())]);
            shop.known.insert(name.clone(), records(broker, &name).unwrap());
        }
        shop
    }

    /// What somebody may type in the place of a topic.
    fn mistaken(&self, word: &str, random: &mut Random) -> String {
        let name = topic_of(word).unwrap();
        let other = &self.names[random.below(self.names.len() as u64) as usize];
        match random.below(6) {
            0 => format!("kafka:{}", &name[1..]),
            1 => word.replace("kafka:", "kafkaa:"),
            2 => word.replace("kafka:", ""),
            _ => format!("kafka:{other}"),
        }
    }

    /// Runs a command, with this test's names and brokers, and sees what became of all topics. Whether it succeeded.
    fn run(&mut self, words: &[String], number: usize) -> bool {
        let own = |word: &String| match word.as_str() {
            "localhost:9092" => self.broker.settings.brokers().to_owned(),
            "100000" => "200".to_owned(),
            word => word.replace("kafka:", &format!("kafka:{}-", self.prefix)),
        };
        let mut words: Vec<String> = words.iter().map(own).collect();
        match words[1].as_str() {
            "run" => words.push("--until-end".to_owned()),
            "generate" => words.extend(["--seed".to_owned(), number.to_string()]),
            _ => {}
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltacart"));
        let done = command.args(&words[1..]).current_dir(self.folder.path(".")).stdin(Stdio::null());
        let done = done.output().unwrap();
        let line = words.join(" ");
        // Such a run is a failure, and has published what it found: that there are no lists.
        let said = String::from_utf8_lossy(&done.stderr);
        let has_published = done.status.success() || said.contains("nothing of the input could be used");
        println!("{}: {line}", done.status);
        let is_written = |topic: &str| {
            let named = |flag: &str| {
                words.windows(2).any(|pair| pair[0] == flag && topic_of(&pair[1]) == Some(topic))
            };
            ["--output", "--output-carts", "--output-users", "--notes", "--dead-letter"]
                .into_iter()
                .any(named)
        };
        for topic in words.iter().filter_map(|word| topic_of(word)) {
            let Some(found) = records(self.broker, topic) else {
                assert!(!self.known.contains_key(topic), "{topic} is gone after {line}");
                continue;
            };
            if !self.known.contains_key(topic) {
                assert!(is_written(topic), "{topic} was made by {line}");
                let partitions = topic_partitions(&self.broker.settings, topic).unwrap().unwrap() as u32;
                assert_eq!(partitions, self.partitions_wanted(&words), "{topic} was made by {line}");
            }
            self.check(topic, found, is_written(topic) && has_published, &line);
        }
        done.status.success()
    }

    /// How many partitions a topic gets that the command makes.
    fn partitions_wanted(&self, words: &[String]) -> u32 {
        if words[1] == "generate" {
            return 4;
        }
        let at = words.iter().position(|word| word == "--input").unwrap();
        let inputs = words[at + 1..].iter().take_while(|word| !word.starts_with("--"));
        let partitions = inputs.filter_map(|word| topic_of(word)).map(|topic| {
            let there = topic_partitions(&self.broker.settings, topic).unwrap();
            there.unwrap_or_else(|| panic!("{topic} is not there, and the job made another")) as u32
        });
        partitions.max().unwrap()
    }

    /// A topic holds what it held; more of the same kind only where a command wrote to it.
    fn check(&mut self, topic: &str, found: Vec<(u32, u64, Kind)>, may_grow: bool, line: &str) {
        let before = self.known.insert(topic.to_owned(), found.clone()).unwrap_or_default();
        assert!(before.iter().all(|record| found.contains(record)), "{topic} lost records by {line}");
        let kinds: BTreeSet<Kind> = found.iter().map(|&(_, _, kind)| kind).collect();
        assert!(kinds.len() <= 1, "{topic} holds {kinds:?} after {line}");
        assert!(may_grow || before == found, "{topic} was written to by {line}");
        if kinds.contains(&Kind::List) {
            assert_eq!(self.broker.properties(topic)["cleanup.policy"], "compact", "{topic} by {line}");
        }
    }

    /// Those that no later command named are as they were, too.
    fn check_all(&mut self) {
        for topic in self.known.keys().cloned().collect::<Vec<_>>() {
            let found = records(self.broker, &topic).unwrap_or_else(|| panic!("{topic} is gone"));
            self.check(&topic, found, false, "the whole");
        }
    }
}

/// The name of the topic that a word names.
fn topic_of(word: &str) -> Option<&str> {
    word.strip_prefix("kafka:").map(|name| name.split('#').next().unwrap_or(name))
}
