//! Deliberate crashes against a real broker. Whatever is killed, and whenever, consumers see each list once, no list
//! goes back, and the final lists are those of a run without crashes.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` names a broker, except for the tests of files. `DELTACART_TEST_KILLS` sets
//! the number of kills, and `DELTACART_TEST_SEED` the seed that their times are drawn from.

use crate::kafka::{Broker, unused};
use crate::support::{
    Folder, Random, Running, canonical, data, lists_of_file, run, run_cluster, start, wait_until,
};
use clap::Parser;
use deltacart::cli::{Cli, Command};
use deltacart::config;
use deltacart::files::ExistingFile;
use deltacart::launch;
use deltacart::output::{Lists, wait_for_open_transactions};
use deltacart::process::Handle;
use deltacart_inputs::Share;
use deltacart_testing::{Plan, Shop, Size};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

/// The default number of kills.
pub(crate) const KILLS: u64 = 5;

/// The number of kills, from the environment if it is set there.
pub(crate) fn kills() -> u64 {
    std::env::var("DELTACART_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// The observations of a consumer that reads committed records, record by record.
pub(crate) struct Consumer {
    pub(crate) lists: Lists,
    /// By partition and item: the epoch and the list of the last record, without the fields that say what changed.
    last: BTreeMap<(u32, String), (u64, String)>,
    records: usize,
}

/// Reads a topic of `upsert` records from its beginning, partition by partition, and checks that it is a valid
/// history.
///
/// No list comes twice in a row, and no epoch before the last one of its item. At the end, each list is in one
/// partition.
pub(crate) fn check_history(broker: &Broker, topic: &str) -> Consumer {
    wait_for_open_transactions(&broker.settings, topic, Share::WHOLE, Duration::from_secs(20)).unwrap();
    let mut values = BTreeMap::new();
    let mut consumer = Consumer { lists: Lists::new(), last: BTreeMap::new(), records: 0 };
    broker.read(topic, &mut |record| {
        let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
        let at = format!("{key:?} at {}:{}", record.partition, record.offset);
        let Consumer { last, records, .. } = &mut consumer;
        *records += 1;
        let place = (record.partition, key);
        match record.value {
            Some(value) => drop(values.insert(place.clone(), value.to_vec())),
            None => drop(values.remove(&place)),
        }
        let before = last.get(&place);
        let (epoch, list) = match record.value {
            None => {
                let (epoch, list) = before.unwrap_or_else(|| panic!("{at}: taken away before it was told"));
                assert!(!list.is_empty(), "{at}: taken away twice");
                (*epoch, String::new())
            }
            Some(value) => {
                let value: serde_json::Value = serde_json::from_slice(value).unwrap();
                (value["epoch"].as_u64().unwrap(), value["recommendations"].to_string())
            }
        };
        if let Some((epoch_before, list_before)) = before {
            assert_ne!(*list_before, list, "{at}: told twice, in {epoch_before} and {epoch}");
            let rises = *epoch_before < epoch || record.value.is_none();
            assert!(rises, "{at}: epoch {epoch} after {epoch_before}");
        }
        last.insert(place, (epoch, list));
    });
    let mut items = BTreeSet::new();
    for ((partition, key), value) in values {
        assert!(items.insert(key.clone()), "{key:?} has a list in partition {partition} and in another");
        consumer.lists.apply(Some(key.as_bytes()), Some(&value)).unwrap();
    }
    consumer
}

/// The processes of a job.
pub(crate) struct Cluster(Vec<Running>);

impl Cluster {
    pub(crate) fn start(folder: &Folder, processes: usize, line: &str) -> Cluster {
        let hosts = folder.hostfile(processes);
        let start =
            |process: usize| start(&format!("{line} -n {processes} -p {process} --hostfile {hosts}"), &[]);
        Cluster((0..processes).map(start).collect())
    }

    /// Stops all processes, and checks that they end in order.
    ///
    /// While the cluster starts, a process may see another one leave before it gets the signal itself, or get the
    /// signal before it handles signals.
    fn stop(self) {
        self.0.iter().for_each(Running::terminate);
        for process in self.0 {
            let done = process.finish();
            let was_starting = done.stderr.contains("has left while the cluster started");
            assert!(was_starting || matches!(done.status.code(), Some(0) | None), "{}", done.stderr);
        }
    }

    /// Kills all processes, the process `first` before the others.
    pub(crate) fn kill(mut self, first: usize) {
        let first = first % self.0.len();
        self.0.swap(0, first);
        self.0.iter_mut().for_each(Running::kill);
    }
}

/// The seed of kills and shops.
fn seed() -> u64 {
    std::env::var("DELTACART_TEST_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// Records of a shop, with their keys. Every pair of items is together often, so that all that the engine keeps
/// enters and leaves its reserves. `DELTACART_TEST_SEED` draws another shop.
pub(crate) fn shop(events: u64) -> Vec<(String, Vec<u8>)> {
    let mut random = Random::new(seed());
    let plan = Plan { events, ..Plan::draw(&mut random, Size::Dense) };
    Shop::of(plan, &mut random).records().collect()
}

/// Online Retail by customer, if it is there: rows as CSV with the customer as key, and the header.
fn online_retail() -> Option<Vec<(String, Vec<u8>)>> {
    let path = data("online-retail.csv.gz")?;
    let file = flate2::read::GzDecoder::new(fs::File::open(path).unwrap());
    let mut reader = csv::Reader::from_reader(file);
    let headers = reader.headers().unwrap().clone();
    let find = |names: &[&str]| headers.iter().position(|header| names.contains(&header));
    let item = find(&["StockCode"]).unwrap();
    let quantity = find(&["Quantity"]).unwrap();
    let customer = find(&["CustomerID", "Customer ID"]).unwrap();
    let rows = reader.records().map(|row| row.unwrap()).filter(|row| !row[customer].is_empty());
    let event = |row: csv::StringRecord| {
        let quantity: i64 = row[quantity].parse().unwrap();
        let name = if quantity < 0 { "remove" } else { "add" };
        let json = serde_json::json!({
            "basket": &row[customer], "item": &row[item], "event": name, "quantity": quantity.unsigned_abs(),
        });
        (row[customer].to_owned(), json.to_string().into_bytes())
    };
    Some(rows.filter(|row| row[quantity].parse::<i64>().unwrap() != 0).map(event).collect())
}

/// The lists of a run over a file with the same events.
pub(crate) fn lists_from_file(folder: &Folder, events: &[(String, Vec<u8>)], flags: &str) -> String {
    let lines: Vec<&[u8]> = events.iter().map(|(_key, value)| value.as_slice()).collect();
    let (input, output) = (folder.file("carts.jsonl", lines.join(&b'\n')), folder.path("lists.jsonl"));
    run(&format!("run --input {input} --output {output} --overwrite {flags}"), &[]).expect(0);
    lists_of_file(&output)
}

/// Kills a job at random moments while events stream in, and starts it again with other workers and processes.
#[test]
fn killed_at_random_and_nothing_is_lost_doubled_or_late() {
    let Some(broker) = Broker::new() else { return };
    let mut random = Random::new(seed());
    let events = online_retail().unwrap_or_else(|| shop(100_000));
    let folder = Folder::new();
    let (topic, output) = (broker.topic("carts"), broker.table_with_history("lists"));
    let group = unused("group");
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{output} --output-partitions 3 -G {group} --epoch 10ms --slots 27",
        broker.flags
    );
    kill_at_random(&broker, &folder, &job, &topic, &events, &mut random, "--lists-every 150ms");
    let seen = check_history(&broker, &output);
    println!("{} records of {} items", seen.records, seen.last.len());
    let expected = lists_from_file(&folder, &events, "");
    assert!(canonical(&seen.lists) == expected, "the lists at the end are others, seed {}", seed());
    // One more run has nothing to publish.
    run(&format!("{job} --until-end -w 3"), &[]).expect(0).says(", 0 lists changed in 0 records");
}

/// Sends events to `topic` while a job runs that is killed at random moments, and started again with other workers and
/// processes. At last the job runs to the end of the topic. Some runs have the flags `every`.
pub(crate) fn kill_at_random(
    broker: &Broker,
    folder: &Folder,
    job: &str,
    topic: &str,
    events: &[(String, Vec<u8>)],
    random: &mut Random,
    every: &str,
) {
    let (kills, mut sent) = (kills(), 0);
    for kill in 0..kills {
        let (workers, processes) = (1 + random.below(3), 1 + random.below(3));
        // Every other run keeps snapshots, or resumes from those of an earlier run.
        let state = format!("--state {} --snapshot-every 300ms", folder.path("state"));
        let state = if random.below(2) == 0 { &state } else { "" };
        // Every other run publishes lists less often than they change.
        let every = if random.below(2) == 0 { every } else { "" };
        let line = format!("{job} -w {workers} {state} {every}");
        let cluster = Cluster::start(folder, processes as usize, &line);
        // Events keep coming while the job starts and works, until it is killed.
        let until = 300 + random.below(2200);
        let share = (events.len() - sent) / (kills - kill) as usize;
        broker.produce_slowly(topic, &events[sent..sent + share], until);
        sent += share;
        cluster.kill(random.below(3) as usize);
        println!(
            "kill {kill}: {processes} processes of {workers} workers after {until} ms, {sent} events {state} {every}"
        );
    }
    let rest = &events[sent..];
    broker.produce(topic, rest.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    run(&format!("{job} --until-end -w 2"), &[]).expect(0);
}

/// All that may change between two runs of a job changes here: the envelope, k, the measure and the digits; workers
/// and processes; snapshots.
///
/// Snapshots are kept, not kept, or removed between runs, either all files or the manifests only. A run ends by a
/// kill or by a signal.
#[test]
fn killed_while_everything_changes() {
    let Some(broker) = Broker::new() else { return };
    let kills = kills();
    let mut random = Random::new(seed());
    let events = shop(20_000);
    let folder = Folder::new();
    let (topic, output) = (broker.topic("carts"), broker.table_with_history("lists"));
    let group = unused("group");
    let state = folder.path("state");
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{output} --output-partitions 3 -G {group} --epoch 10ms --slots 27",
        broker.flags
    );
    let mut sent = 0;
    for kill in 0..kills {
        let flags = changed_flags(&mut random);
        let removed = remove_snapshots(&state, &mut random);
        let kept = format!("--state {state} --snapshot-every 200ms");
        let kept = if random.below(4) == 0 { "" } else { &kept };
        let (workers, processes) = (1 + random.below(3), 1 + random.below(3));
        let line = format!("{job} {flags} {kept} -w {workers}");
        let cluster = Cluster::start(&folder, processes as usize, &line);
        let share = (events.len() - sent) / (kills - kill) as usize;
        broker.produce_slowly(&topic, &events[sent..sent + share], 500 + random.below(2500));
        sent += share;
        let in_order = random.below(3) == 0;
        println!("run {kill}: {processes} of {workers}, {flags}, {kept:?}, {removed}, in order: {in_order}");
        match in_order {
            true => cluster.stop(),
            false => cluster.kill(random.below(3) as usize),
        }
        // Every fourth kill, the lists are checked under way.
        if kill % 4 == 3 {
            check_caught_up(&broker, &folder, &output, &format!("{job} {kept}"), &flags, &events[..sent]);
        }
    }
    broker.produce(&topic, events[sent..].iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let flags = changed_flags(&mut random);
    check_caught_up(&broker, &folder, &output, &format!("{job} --state {state}"), &flags, &events);
}

fn changed_flags(random: &mut Random) -> String {
    let mut pick = |choices: &[&str]| choices[random.below(choices.len() as u64) as usize].to_owned();
    let envelope = pick(&["upsert", "changes", "debezium"]);
    let (measure, k) = (pick(&["cosine", "count", "jaccard", "llr"]), pick(&["3", "10", "20"]));
    let shown = pick(&["", "--score-digits 1", "--scores off"]);
    format!("--envelope {envelope} --measure {measure} -k {k} {shown}")
}

/// Sometimes removes snapshots between two runs. Returns what was removed.
fn remove_snapshots(state: &str, random: &mut Random) -> &'static str {
    let (what, ending) = match random.below(4) {
        0 => ("all removed", ""),
        1 => ("manifests removed", ".json"),
        _ => return "none removed",
    };
    let entries = fs::read_dir(state).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .for_each(|path| fs::remove_file(path).unwrap());
    what
}

/// Runs the job with these flags to the end of the input. Then consumers hold the lists of a file, and another run
/// publishes nothing.
#[track_caller]
fn check_caught_up(
    broker: &Broker,
    folder: &Folder,
    output: &str,
    job: &str,
    flags: &str,
    events: &[(String, Vec<u8>)],
) {
    run(&format!("{job} {flags} --until-end -w 2"), &[]).expect(0);
    assert!(broker.lists_held(output) == lists_from_file(folder, events, flags), "{flags}");
    run(&format!("{job} {flags} --until-end -w 3"), &[]).expect(0).says(", 0 lists changed in 0 records");
}

/// Regression: the reports of processes to worker 0 about their parts of a snapshot lost a field on the way. So no
/// snapshot of a cluster was ever complete, and nothing failed, since a job can start without any.
#[test]
fn a_cluster_goes_on_from_its_snapshot() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, output, group) = (broker.topic("carts"), unused("lists"), unused("group"));
    let state = folder.path("state");
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{output} -G {group} --epoch 10ms --slots 12 --state {state}",
        broker.flags
    );
    let events = shop(3000);
    broker.produce(&topic, events.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let cluster = Cluster::start(&folder, 2, &format!("{job} --snapshot-every 100ms -w 2"));
    wait_until("a snapshot behind the last event", || read_to(&state) == events.len() as u64);
    cluster.kill(0);
    let done = run(&format!("{job} --until-end"), &[]).expect(0);
    assert!(done.summary().contains("0 events of 0 records"), "{}", done.summary());
    let seen = check_history(&broker, &output);
    assert!(canonical(&seen.lists) == lists_from_file(&folder, &events, ""));
}

/// The number of input records that the newest snapshot covers. 0 without a snapshot.
fn read_to(state: &str) -> u64 {
    let names = fs::read_dir(state).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Files that are still being written are hidden.
    let newest = names.filter(|name| name.starts_with("snapshot-") && name.ends_with(".json")).max();
    // The file may have been removed meanwhile.
    let Some(manifest) = newest.and_then(|name| fs::read_to_string(format!("{state}/{name}")).ok()) else {
        return 0;
    };
    // The second line is the checksum.
    let manifest = manifest.lines().next().unwrap();
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
    let offsets = manifest["offsets"].as_array().unwrap();
    offsets.iter().map(|partition| partition["offset"].as_u64().unwrap()).sum()
}

/// A run that was suspended while a new one started cannot write when it continues.
#[test]
fn a_run_that_was_asleep_is_fenced() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, output, group) = (broker.topic("carts"), unused("lists"), unused("group"));
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{output} -G {group} --epoch 10ms --slots 6",
        broker.flags
    );
    let events = shop(6000);
    let produce = |part: &[(String, Vec<u8>)]| {
        broker.produce(&topic, part.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    };
    produce(&events[..2000]);
    let old = start(&format!("{job} -w 2"), &[]);
    wait_until("the first lists", || broker.records(&output) > 0);
    old.signal("STOP");
    produce(&events[2000..4000]);
    let new = start(&format!("{job} -w 1"), &[]);
    let before = broker.records(&output);
    wait_until("the lists of the new run", || broker.records(&output) > before);
    old.signal("CONT");
    produce(&events[4000..]);
    old.finish().expect(1).says("another run of this job has taken over");
    thread::sleep(Duration::from_millis(500));
    new.terminate();
    new.finish().expect(0);
    run(&format!("{job} --until-end"), &[]).expect(0);
    let seen = check_history(&broker, &output);
    assert!(canonical(&seen.lists) == lists_from_file(&folder, &events, ""));
}

/// A change of the envelope, the measure, k or the digits is published as a difference.
#[test]
fn restarted_with_anything_changed() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let (topic, output, group) = (broker.topic("carts"), unused("lists"), unused("group"));
    let events = shop(3000);
    broker.produce(&topic, events.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let job = format!(
        "run {} --input kafka:{topic} --until-end --output kafka:{output} -G {group} --slots 6",
        broker.flags
    );
    for flags in [
        "",
        "-k 3",
        "-k 3 --score-digits 1",
        "--scores off",
        "--envelope changes",
        "--envelope changes --measure llr --scores off",
        "--envelope debezium --measure llr",
        "",
        "--envelope changes",
        "--envelope upsert -k 20",
    ] {
        run(&format!("{job} {flags} -w 2"), &[]).expect(0);
        assert!(broker.lists_held(&output) == lists_from_file(&folder, &events, flags), "{flags}");
        run(&format!("{job} {flags}"), &[]).expect(0).says(", 0 lists changed in 0 records");
    }
}

#[test]
fn somebody_elses_records_are_refused() {
    let Some(broker) = Broker::new() else { return };
    let (topic, output) = (broker.topic("carts"), broker.topic("theirs"));
    broker.produce(&output, [("a", &b"{\"price\":3}"[..])]);
    let job = format!("run {} --input kafka:{topic} --until-end --output kafka:{output}", broker.flags);
    let job = format!("{job} -G {}", unused("group"));
    for process in run_cluster(&Folder::new(), 1, &format!("{job} --slots 6 -w 2"), &[]) {
        let done = process.expect(1).says(&output).says("offset 0").says("--output");
        let said = done.stderr.lines().filter(|line| line.starts_with("deltacart: ")).count();
        assert_eq!(said, 1, "one message: {}", done.stderr);
    }
    run(&format!("{job} --slots 2 -w 3"), &[]).expect(2).says("--slots");
}

/// Runs a job that resumes its output file.
pub(crate) fn resume(line: &str) {
    let cli = Cli::try_parse_from(format!("deltacart {line} --overwrite").split_whitespace()).unwrap();
    let Command::Run(arguments) = cli.command else { panic!("{line}") };
    let mut job = config::job(*arguments).unwrap();
    job.existing = ExistingFile::Resume;
    launch::run(job, &Handle::default()).unwrap();
}

/// A file that was cut off at any byte is resumed: whole records stay, and the final lists are right.
#[test]
fn a_file_is_gone_on_with() {
    let folder = Folder::new();
    let events = shop(2000);
    let mut random = Random::new(3);
    for flags in ["", "--envelope changes", "--envelope debezium --scores off"] {
        let expected = lists_from_file(&folder, &events, flags);
        let (input, output) = (folder.path("carts.jsonl"), folder.path("resumed.jsonl"));
        run(&format!("run --input {input} --output {output} --overwrite --epoch-events 200 {flags}"), &[])
            .expect(0);
        let whole = fs::read(&output).unwrap();
        for workers in [1, 2] {
            let torn = &whole[..random.below(whole.len() as u64) as usize];
            fs::write(&output, torn).unwrap();
            resume(&format!("run --input {input} --output {output} -w {workers} {flags}"));
            let lines = torn.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
            let resumed = fs::read(&output).unwrap();
            assert!(resumed.starts_with(&torn[..lines]), "{flags}");
            assert!(lists_of_file(&output) == expected, "{flags}, torn at {}", torn.len());
            // One more run has nothing to publish.
            resume(&format!("run --input {input} --output {output} -w {workers} {flags}"));
            assert!(fs::read(&output).unwrap() == resumed, "{flags}");
        }
    }
}
