//! Failures around a job. Each ends in recovery, or in one clear message and exit code 1. When the cause is gone, a
//! restart ends with the lists of a job without failures. `docs/operations.md` explains them to operators.
//!
//! Tests are skipped, with a line that says so: those of small disks where none can be mounted, those of brokers
//! unless `DELTACART_TEST_BROKERS` is set. A test that kills a broker, or needs one with permissions, starts its own.

use crate::kafka::{Broker, block_on, unused};
use crate::recovery::{check_history, lists_from_file, shop};
use crate::skipped::skip;
use crate::support::{Finished, Folder, canonical, lists_of_file, run, start, wait_until};
use deltacart::output::{TABLE_PROPERTIES, TopicSpec, ensure_topic};
use deltacart_inputs::kafka::{KafkaSettings, Role, topic_partitions};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

type Events = [(String, Vec<u8>)];

/// Checks that the run failed, with exactly one message.
#[track_caller]
fn check_failed(done: Finished, said: &str) {
    let done = done.expect(1).says(said);
    let warns = |line: &&str| !line.starts_with(" WARN no broker can be reached: ");
    assert_eq!(done.stderr.lines().filter(warns).count(), 1, "one message: {}", done.stderr);
}

fn lines(events: &Events) -> Vec<u8> {
    events.iter().flat_map(|(_key, value)| [value, &b"\n"[..]].concat()).collect()
}

/// Runs a tool of the system. Returns false if the tool fails or is not permitted.
fn can(tool: &str, words: &[&str]) -> bool {
    Command::new(tool).args(words).output().is_ok_and(|done| done.status.success())
}

/// Makes a pipe in the folder.
fn pipe(folder: &Folder) -> String {
    let path = folder.path("events");
    assert!(can("mkfifo", &[&path]));
    path
}

/// A mounted disk of limited size, by its path.
struct Disk(String);

impl Disk {
    fn mount(folder: &Folder, size: &str) -> Option<Disk> {
        let path = folder.path("disk");
        fs::create_dir(&path).unwrap();
        if !can("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &path]) {
            skip("no disk can be mounted here");
            return None;
        }
        Some(Disk(path))
    }

    fn grow(&self) {
        assert!(can("mount", &["-o", "remount,size=100m", &self.0]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        can("umount", &["-l", &self.0]);
    }
}

/// A folder in which no file can be created, as long as this exists.
struct ReadOnly<'a> {
    path: &'a str,
    is_mounted: bool,
}

impl ReadOnly<'_> {
    fn make(path: &str) -> Option<ReadOnly<'_>> {
        if can("mount", &["--bind", path, path]) {
            assert!(can("mount", &["-o", "remount,bind,ro", path]));
            return Some(ReadOnly { path, is_mounted: true });
        }
        // Permissions stop every user except the superuser.
        assert!(can("chmod", &["a-w", path]));
        let made = ReadOnly { path, is_mounted: false };
        if fs::File::create(format!("{path}/.trial")).is_ok() {
            skip("nothing can be made read-only here");
            return None;
        }
        Some(made)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        match self.is_mounted {
            true => can("umount", &["-l", self.path]),
            false => can("chmod", &["u+w", self.path]),
        };
    }
}

fn has_snapshot(state: &str) -> bool {
    let mut names = fs::read_dir(state).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.any(|name| name.to_str().unwrap().ends_with(".json"))
}

#[test]
fn a_full_disk_under_the_output() {
    let folder = Folder::new();
    let events = shop(20_000);
    let expected = lists_from_file(&folder, &events, "");
    let input = folder.path("carts.jsonl");
    let full = "cannot write /dev/full: No space left on device (os error 28)";
    check_failed(run(&format!("run --input {input} --output /dev/full"), &[]), full);
    let Some(disk) = Disk::mount(&folder, "16k") else { return };
    let (output, state) = (format!("{}/lists", disk.0), folder.path("state"));
    let job = format!("run --input {input} --output {output} --epoch-events 100 --snapshot-every 5ms");
    let flags = ["--state", &state];
    let full = format!("cannot write {output}: No space left on device (os error 28)");
    check_failed(run(&job, &flags), &full);
    check_failed(run(&job, &flags), &full);
    disk.grow();
    run(&job, &flags).expect(0);
    assert!(lists_of_file(&output) == expected);
}

#[test]
fn a_full_disk_under_the_snapshots() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, "16k") else { return };
    let events = shop(20_000);
    let expected = lists_from_file(&folder, &events, "");
    let (input, output, state) = (pipe(&folder), folder.path("out"), format!("{}/state", disk.0));
    let job = format!("run --input {input} --output {output} --epoch 1ms --snapshot-every 20ms -w 2");
    let running = start(&job, &["--state", &state]);
    let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
    // The input comes in portions, each followed by a snapshot. If it were read at once, one last snapshot might do.
    for portion in events.chunks(500) {
        writer.write_all(&lines(portion)).unwrap();
        thread::sleep(Duration::from_millis(25));
    }
    wait_until("a snapshot failed", || running.has_said("a snapshot failed: cannot write "));
    drop(writer);
    let done = running.finish().expect(1).says("a snapshot failed: cannot write ");
    done.says("but the last snapshot is not written: cannot write ").says("No space left on device");
    assert!(lists_of_file(&output) == expected, "everything is published");
    disk.grow();
    fs::remove_file(&input).unwrap();
    fs::write(&input, lines(&events)).unwrap();
    run(&job, &["--state", &state]).expect(0).says(", 0 lists changed in 0 records");
    assert!(lists_of_file(&output) == expected && has_snapshot(&state));
}

#[test]
fn a_read_only_folder_for_snapshots() {
    let folder = Folder::new();
    let events = shop(4000);
    let expected = lists_from_file(&folder, &events, "");
    let (input, output, state) = (pipe(&folder), folder.path("out"), folder.path("state"));
    let job = format!("run --input {input} --output {output} --epoch 1ms --snapshot-every 20ms -w 2");
    let running = start(&job, &["--state", &state]);
    let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
    writer.write_all(&lines(&events[..2000])).unwrap();
    wait_until("a snapshot is taken", || has_snapshot(&state));
    let Some(read_only) = ReadOnly::make(&state) else { return };
    writer.write_all(&lines(&events[2000..])).unwrap();
    wait_until("a snapshot failed", || running.has_said("a snapshot failed: cannot write "));
    drop(read_only);
    drop(writer);
    running.finish().expect(0).says("a snapshot failed: cannot write ");
    assert!(lists_of_file(&output) == expected);

    fs::remove_file(&input).unwrap();
    fs::write(&input, lines(&events)).unwrap();
    let read_only = ReadOnly::make(&state);
    check_failed(run(&job, &["--state", &state]), &format!("cannot use {state} for snapshots: "));
    drop(read_only);
    run(&job, &["--state", &state]).expect(0).says(", 0 lists changed in 0 records");
    assert!(lists_of_file(&output) == expected);
}

/// A job from topic to topic. Half of its events are in the input topic.
struct Case {
    folder: Folder,
    events: Vec<(String, Vec<u8>)>,
    expected: String,
    topic: String,
    output: String,
    /// The command of the job, without brokers.
    job: String,
}

impl Case {
    fn new(broker: &Broker, name: &str) -> Case {
        let folder = Folder::new();
        let events = shop(3000);
        let expected = lists_from_file(&folder, &events, "");
        let (topic, output) = (broker.topic(name), format!("{}-lists", unused(name)));
        let places = format!("--input kafka:{topic} --output kafka:{output} --metadata-refresh 200ms");
        let job = format!("run {places} -G {} --slots 6 -w 2", unused(name));
        let case = Case { folder, events, expected, topic, output, job };
        case.produce(broker, 0..1500);
        case
    }

    fn produce(&self, broker: &Broker, which: std::ops::Range<usize>) {
        let events = self.events[which].iter();
        broker.produce(&self.topic, events.map(|(key, value)| (key.as_str(), value.as_slice())));
    }

    fn wait_for_lists(&self, broker: &Broker) {
        wait_until("the first lists", || broker.records(&self.output) > 0);
    }

    /// Runs the job to the end of the input, and checks what consumers have seen.
    fn recover(&self, broker: &Broker, flags: &str) {
        run(&format!("{} --until-end {flags}", self.job), &[]).expect(0);
        assert!(canonical(&check_history(broker, &self.output).lists) == self.expected);
    }
}

fn admin(settings: &KafkaSettings) -> AdminClient<DefaultClientContext> {
    settings.client_config(Role::Admin).create().unwrap()
}

/// Deletes a topic.
pub(crate) fn delete(broker: &Broker, topic: &str) {
    let deleted = block_on(admin(&broker.settings).delete_topics(&[topic], &AdminOptions::new())).unwrap();
    assert_eq!(deleted, [Ok(topic.to_owned())]);
}

#[test]
fn a_kafka_input_topic_that_is_deleted() {
    let Some(broker) = Broker::new() else { return };
    let case = Case::new(&broker, "gone");
    let running = start(&format!("{} {}", case.job, broker.flags), &[]);
    case.wait_for_lists(&broker);
    delete(&broker, &case.topic);
    check_failed(running.finish(), &format!("topic {} does not exist at ", case.topic));
    let spec = TopicSpec { name: &case.topic, partitions: 4, compacted: false };
    ensure_topic(&broker.settings, &spec).unwrap();
    case.produce(&broker, 0..3000);
    case.recover(&broker, &broker.flags);

    // With snapshots, the job must notice that it is another topic, even if it has every offset of the old one.
    let flags = format!("{} --state {}", broker.flags, case.folder.path("state"));
    case.recover(&broker, &flags);
    delete(&broker, &case.topic);
    wait_until("it is gone", || topic_partitions(&broker.settings, &case.topic).unwrap().is_none());
    ensure_topic(&broker.settings, &spec).unwrap();
    case.produce(&broker, 0..3000);
    let said = format!("topic {} is not the one that was read before: it was deleted", case.topic);
    check_failed(run(&format!("{} --until-end {flags}", case.job), &[]), &said);
    // The events of the new topic are recognised by their ids.
    case.recover(&broker, &format!("{flags} --on-expired continue"));
    case.recover(&broker, &flags);
}

#[test]
fn a_kafka_output_topic_that_is_deleted() {
    let Some(broker) = Broker::new() else { return };
    let case = Case::new(&broker, "unread");
    let running = start(&format!("{} {}", case.job, broker.flags), &[]);
    case.wait_for_lists(&broker);
    delete(&broker, &case.output);
    case.produce(&broker, 1500..3000);
    check_failed(running.finish(), &format!("topic {} was deleted: start the job again", case.output));
    case.recover(&broker, &broker.flags);
}

/// If the job looks at the topic too seldom, it notices the loss by records that nobody acknowledges.
#[test]
fn a_kafka_output_topic_that_takes_no_records() {
    let Some(broker) = Broker::new() else { return };
    let case = Case::new(&broker, "unlooked");
    let flags = format!("{} -X producer.transaction.timeout.ms=6000", broker.flags);
    let job = case.job.replace("200ms", "1h");
    let running = start(&format!("{job} {flags}"), &[]);
    case.wait_for_lists(&broker);
    delete(&broker, &case.output);
    wait_until("it is gone", || topic_partitions(&broker.settings, &case.output).unwrap().is_none());
    case.produce(&broker, 1500..3000);
    check_failed(running.finish(), "has not acknowledged a record within -X delivery.timeout.ms");
    case.recover(&broker, &flags);
}

#[test]
fn kafka_messages_that_are_too_large() {
    let Some(broker) = Broker::new() else { return };
    let case = Case::new(&broker, "large");
    case.produce(&broker, 1500..3000);
    let small = format!("{} {} -k 100 -X producer.message.max.bytes=1000", case.job, broker.flags);
    check_failed(run(&small, &[]), &format!("bytes, too many for topic {}: lower --top-k", case.output));
    let limit = |bytes: &str| {
        let topic = AlterConfig::new(ResourceSpecifier::Topic(&case.output));
        // A property that is not set has the broker's default from then on.
        let topic = TABLE_PROPERTIES.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let topic = topic.set("cleanup.policy", "compact").set("max.message.bytes", bytes);
        let altered = block_on(admin(&broker.settings).alter_configs([&topic], &AdminOptions::new()));
        assert!(altered.unwrap()[0].is_ok());
    };
    limit("300");
    let refused = format!("topic {} at ", case.output);
    let done = run(&format!("{} {}", case.job, broker.flags), &[]).expect(1).says(&refused);
    check_failed(done, "refuses a batch as too large: raise its max.message.bytes");
    limit("1000000");
    case.recover(&broker, &broker.flags);
}

/// A broker that only this test uses.
struct OwnBroker {
    folder: Folder,
    jars: PathBuf,
    broker: Broker,
}

impl OwnBroker {
    /// Starts a broker beside the shared one, if there is one, from the same jars.
    fn start() -> Option<OwnBroker> {
        Broker::new()?;
        let home = std::env::var_os("KAFKA_HOME").map(PathBuf::from);
        let scratch = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scratch"));
        let mut folders = scratch.into_iter().flatten().map(|entry| entry.unwrap().path());
        let Some(jars) = home.or_else(|| folders.find(|folder| folder.join("libs/complete").exists())) else {
            skip("neither KAFKA_HOME nor a folder of scratch/ has a Kafka");
            return None;
        };
        let settings = KafkaSettings::new(String::new());
        let mut own =
            OwnBroker { folder: Folder::new(), jars, broker: Broker { settings, flags: String::new() } };
        let brokers = own.script("start", "--sasl");
        own.broker = Broker { flags: format!("-b {brokers}"), settings: KafkaSettings::new(brokers) };
        Some(own)
    }

    fn script(&self, command: &str, words: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
        let mut script = Command::new(script);
        script.env("KAFKA_HOME", &self.jars).args([command, "--dir", &self.folder.path("broker")]);
        let done = script.args(words.split_whitespace()).output().unwrap();
        assert!(done.status.success(), "{command} {words}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Gives permissions to the user `reader`, or withdraws them.
    fn permit(&self, what: &str, words: &str) {
        let tool = "org.apache.kafka.tools.AclCommand --bootstrap-server";
        let brokers = self.broker.settings.brokers();
        self.script("tool", &format!("{tool} {brokers} {what} --allow-principal User:reader {words}"));
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.script("stop", "");
    }
}

#[test]
fn kafka_permissions_that_are_withdrawn() {
    let Some(own) = OwnBroker::start() else { return };
    let mut case = Case::new(&own.broker, "allowed");
    let login = "security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=PLAIN\nsasl.username=reader\n";
    let login = case.folder.file("login", format!("{login}sasl.password=reader-secret\n"));
    // The job warns of a secret that others can read.
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
    let flags = format!("-b {} -F {login}", own.script("brokers", "--sasl"));
    case.job = case.job.replace(" -G ", " --job readable -G readable-");
    let (topic, output) = (&case.topic, &case.output);
    let (read, write) = (format!("--operation Read --topic {topic}"), "--operation Write");
    let written = format!("--topic {output}");
    let ids = "--transactional-id readable --resource-pattern-type prefixed";
    ensure_topic(&own.broker.settings, &TopicSpec { name: output, partitions: 4, compacted: true }).unwrap();

    let refused = run(&format!("{} {flags}", case.job), &[]);
    check_failed(refused, "no permission for topic");
    own.permit("--add", &format!("{read} --operation Describe"));
    own.permit("--add", &format!("--operation Read --operation Describe {write} {written}"));
    check_failed(run(&format!("{} {flags}", case.job), &[]), "no permission for the transactional id at ");
    own.permit("--add", &format!("{write} --operation Describe {ids}"));

    let running = start(&format!("{} {flags}", case.job), &[]);
    case.wait_for_lists(&own.broker);
    own.permit("--remove --force", &format!("{write} {written}"));
    case.produce(&own.broker, 1500..3000);
    check_failed(running.finish(), &format!("no permission to write to topic {output} at "));
    own.permit("--add", &format!("{write} {written}"));

    let running = start(&format!("{} {flags}", case.job), &[]);
    let is_whole = || own.broker.lists_held(output) == case.expected;
    wait_until("it goes on", is_whole);
    own.permit("--remove --force", &read);
    check_failed(running.finish(), &format!("no permission for topic {topic} at "));
    own.permit("--add", &read);
    case.recover(&own.broker, &flags);
}

#[test]
fn a_kafka_broker_that_is_away_for_a_while() {
    let Some(own) = OwnBroker::start() else { return };
    let broker = &own.broker;
    // The broker is away for less than the transaction time-out: the job continues without a restart.
    let case = Case::new(broker, "away");
    let flags = format!("{} -X reconnect.backoff.max.ms=1000", broker.flags);
    let running = start(&format!("{} {flags}", case.job), &[]);
    case.wait_for_lists(broker);
    own.script("crash", "");
    thread::sleep(Duration::from_secs(5));
    own.script("resume", "");
    case.produce(broker, 1500..3000);
    wait_until("it goes on", || broker.lists_held(&case.output) == case.expected);
    running.terminate();
    running.finish().expect(0);
    case.recover(broker, &broker.flags);

    // The broker is away for longer, with lists in flight: the job fails, and so does every start until the broker is
    // back.
    let (folder, output) = (Folder::new(), unused("away-lists"));
    let input = pipe(&folder);
    let places = format!("--input {input} --output kafka:{output} --epoch 10ms --slots 4");
    let job = format!("run {places} {} -X producer.transaction.timeout.ms=6000", broker.flags);
    let running = start(&job, &[]);
    let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
    writer.write_all(&lines(&case.events[..1500])).unwrap();
    wait_until("the first lists", || broker.records(&output) > 0);
    own.script("crash", "");
    writer.write_all(&lines(&case.events[1500..])).unwrap();
    check_failed(running.finish(), "has not acknowledged a record within -X delivery.timeout.ms");
    fs::remove_file(&input).unwrap();
    fs::write(&input, lines(&case.events)).unwrap();
    check_failed(run(&format!("{job} --startup-timeout 2s"), &[]), "no broker answers at ");
    own.script("resume", "");
    run(&job, &[]).expect(0);
    assert!(canonical(&check_history(broker, &output).lists) == case.expected);
}
