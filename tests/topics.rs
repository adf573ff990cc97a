//! Topics: how jobs create them, and how they react when others change them. A topic is created neither too early nor
//! by the broker itself, and serves one purpose. The job notices when a topic of lists grows, or is replaced by
//! another.
//!
//! Skipped unless `DELTACART_TEST_BROKERS` names a broker. That broker must be one that creates topics for clients
//! that allow it.

use crate::failures::delete;
use crate::kafka::{Broker, block_on, unused};
use crate::metrics::{free_address, page_text};
use crate::recovery::{Cluster, check_history, lists_from_file, shop};
use crate::support::{Folder, Random, canonical, run, start, wait_until};
use deltacart::output::{
    Envelope, KafkaSink, Lists, OutputWatch, Sink, TABLE_PROPERTIES, TopicSpec, Watch, ensure_topic,
};
use deltacart_inputs::kafka::{Role, topic_partitions};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

impl Broker {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.settings.client_config(Role::Admin).create().unwrap()
    }

    /// Creates a compacted topic of three partitions that keeps each record for an hour, so that a test can read its
    /// whole history.
    pub(crate) fn table_with_history(&self, name: &str) -> String {
        let topic = unused(name);
        self.make_with(3, &topic, &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "3600000")]);
        topic
    }

    /// Creates a topic of one partition with these properties.
    pub(crate) fn make(&self, topic: &str, properties: &[(&str, &str)]) {
        self.make_with(1, topic, properties);
    }

    fn make_with(&self, partitions: i32, topic: &str, properties: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = properties.iter().fold(new, |new, (name, value)| new.set(name, value));
        let made = block_on(self.admin().create_topics([&new], &AdminOptions::new())).unwrap();
        assert_eq!(made, [Ok(topic.to_owned())]);
    }

    /// The properties of a topic.
    pub(crate) fn properties(&self, topic: &str) -> BTreeMap<String, String> {
        let topic = ResourceSpecifier::Topic(topic);
        let found = block_on(self.admin().describe_configs([&topic], &AdminOptions::new())).unwrap();
        let entries = found.into_iter().next().unwrap().unwrap().entries.into_iter();
        entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        topic_partitions(&self.settings, topic).unwrap().is_some()
    }
}

/// Regression: a job that started before its input existed created its output and its dead letters with one
/// partition. Every later run kept that.
#[test]
fn nothing_is_made_before_the_input_is_there() {
    let Some(broker) = Broker::new() else { return };
    let (output, letters) = (unused("lists"), unused("letters"));
    let nowhere = unused("nowhere");
    let file = Folder::new().path("typo.jsonl");
    for (input, said) in [
        (format!("kafka:{nowhere}"), format!("topic {nowhere} does not exist at ")),
        (file.clone(), format!("cannot read {file}")),
    ] {
        let places = format!("--input {input} --output kafka:{output} --dead-letter kafka:{letters}");
        run(&format!("run {} {places}", broker.flags), &[]).expect(1).says(&said);
        assert!(!broker.has(&output) && !broker.has(&letters), "{input}");
    }
    assert!(!broker.has(&nowhere));
}

/// A broker creates a missing topic for a client that asks about it and allows its creation.
#[test]
fn no_client_lets_the_broker_make_a_topic() {
    let Some(broker) = Broker::new() else { return };
    let nowhere = unused("nowhere");
    let settings = broker.settings.clone().with_startup_timeout(Duration::from_secs(3));
    assert!(KafkaSink::connect(&settings, &[&nowhere]).is_err());
    let mut config = broker.settings.client_config(Role::Producer);
    let producer: BaseProducer = config.set("message.timeout.ms", "2000").create().unwrap();
    producer.send(BaseRecord::to(&nowhere).key("a").payload("b")).map_err(|(error, _)| error).unwrap();
    let _ = producer.flush(Duration::from_secs(5));
    run(&format!("top {} --input kafka:{nowhere}", broker.flags), &[]).expect(1);
    assert!(!broker.has(&nowhere));
    let asked = format!("run {} --input kafka:{nowhere} -X allow.auto.create.topics=true", broker.flags);
    run(&asked, &[]).expect(2).says("allow.auto.create.topics must be false");
}

/// Regression: about once in thirty times, `generate` reported that the topic it had just created does not exist,
/// because its broker did not know of it yet.
#[test]
fn generate_finds_the_topic_it_has_made() {
    let Some(broker) = Broker::new() else { return };
    let mut last = String::new();
    for _ in 0..30 {
        last = unused("carts");
        run(&format!("generate {} --output kafka:{last} --events 10", broker.flags), &[]).expect(0);
    }
    // The events have the same ids as before, so a job would drop all of them.
    let again = format!("generate {} --output kafka:{last} --events 10", broker.flags);
    run(&again, &[]).expect(0).says("holds events already").says("--seed");
}

/// Regression: an empty transaction marker behind the last record left the group's lag at one for ever.
#[test]
fn a_group_comes_to_the_end_of_transactions() {
    let Some(broker) = Broker::new() else { return };
    let (topic, group) = (broker.topic("carts"), unused("group"));
    let mut config = broker.settings.client_config(Role::Producer);
    let producer: BaseProducer = config.set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let transaction = |basket: &str, is_kept: bool| {
        producer.begin_transaction().unwrap();
        for item in ["tea", "cup"] {
            let event = format!(r#"{{"basket":"{basket}","item":"{item}"}}"#);
            let record = BaseRecord::to(&topic).key(basket).payload(&event);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        if is_kept {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        }
    };
    let job = format!("run {} --input kafka:{topic} --output - -G {group}", broker.flags);
    let follows = |what: &str| {
        wait_until(what, || {
            let (ends, committed) = broker.ends_and_committed(&topic, &group);
            ends.iter().any(|&end| end > 0) && ends == committed
        });
    };
    transaction("a", true);
    let running = start(&job, &[]);
    follows("the marker of a commit");
    transaction("b", true);
    transaction("b", false);
    follows("what was taken back");
    running.terminate();
    running.finish().expect(0);
    transaction("c", true);
    run(&format!("{job} --until-end"), &[]).expect(0);
    follows("a bounded run");
}

/// Regression: a producer that went away left its transaction open, which hid all later records. The lag was 0, and
/// the job was ready.
#[test]
fn what_an_open_transaction_hides_is_said() {
    let Some(broker) = Broker::new() else { return };
    let topic = broker.topic("carts");
    let mut config = broker.settings.client_config(Role::Producer);
    let producer: BaseProducer = config.set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let send = |producer: &BaseProducer, event: &str| {
        let record = BaseRecord::to(&topic).partition(2).key("b").payload(event);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    let plain: BaseProducer = broker.settings.client_config(Role::Producer).create().unwrap();
    let event = r#"{"basket":"b","items":[{"item":"tea"},{"item":"cup"}]}"#;
    send(&plain, event);
    send(&producer, event);
    (0..20).for_each(|_| send(&plain, event));

    let metrics = free_address();
    let group = unused("group");
    let job = format!("run {} --input kafka:{topic} --output - -G {group}", broker.flags);
    let bounded = run(&format!("{job} --until-end"), &[]).expect(0).says("2 events of 1 record");
    assert_eq!(bounded.stderr.matches("a transaction has been open").count(), 1, "{}", bounded.stderr);
    bounded.says("partition=2 offset=1 hidden=21");

    let running = start(&format!("{job} --metrics {metrics}"), &[]);
    let hidden = format!(r#"deltacart_hidden_events{{topic="{topic}",partition="2"}} "#);
    let lag = format!(r#"deltacart_lag_events{{topic="{topic}",partition="2"}} "#);
    wait_until("it is in the metrics", || {
        let page = page_text(&metrics);
        page.contains(&format!("{hidden}21\n")) && page.contains(&format!("{lag}21\n"))
    });
    // Waits until the job reports it.
    thread::sleep(Duration::from_secs(12));
    producer.abort_transaction(PATIENCE).unwrap();
    wait_until("all is read", || {
        let page = page_text(&metrics);
        page.contains(&format!("{hidden}0\n")) && page.contains(&format!("{lag}0\n"))
    });
    running.terminate();
    let done = running.finish().expect(0).says("of 21 records");
    assert_eq!(done.stderr.matches("a transaction has been open for ").count(), 1, "{}", done.stderr);
    done.says("partition=2 offset=1 hidden=21");
}

/// The lists of a consumer that reads every partition separately. Checks that each key is in the partition of its
/// hash.
fn lists_at_home(broker: &Broker, topic: &str) -> String {
    let partitions = topic_partitions(&broker.settings, topic).unwrap().unwrap() as u32;
    let mut held = BTreeMap::new();
    broker.read(topic, &mut |record| {
        let place = (record.partition, record.key.unwrap().to_vec());
        match record.value.filter(|value| !String::from_utf8_lossy(value).contains(r#""op":"leave""#)) {
            Some(value) => drop(held.insert(place, value.to_vec())),
            None => drop(held.remove(&place)),
        }
    });
    let sink = KafkaSink::connect(&broker.settings, &[topic]).unwrap();
    let mut lists = Lists::new();
    for ((partition, key), value) in held {
        let text = String::from_utf8_lossy(&key);
        assert_eq!(sink.partition_of(0, &key), Some(partition), "{text} of {partitions}");
        lists.apply(Some(&key), Some(&value)).unwrap();
    }
    canonical(&lists)
}

/// Regression: when an output grew, keys moved, and consumers that read partition by partition kept old lists for
/// ever.
#[test]
fn an_output_that_grows_is_noticed_and_every_list_moves_to_its_partition() {
    let Some(broker) = Broker::new() else { return };
    let folder = Folder::new();
    let events = shop(3000);
    for envelope in Envelope::ALL {
        let (topic, output) = (broker.topic("carts"), unused("lists"));
        let places = format!("--input kafka:{topic} --output kafka:{output} -G {}", unused("group"));
        let flags = format!("--output-partitions 2 --slots 9 --epoch 10ms --envelope {envelope}");
        let job = format!("run {} {places} {flags} --metadata-refresh 100ms", broker.flags);
        let produce = |part: &[(String, Vec<u8>)]| {
            broker.produce(&topic, part.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        };
        produce(&events[..1500]);
        let running = start(&format!("{job} -w 2"), &[]);
        wait_until("the first lists", || broker.records(&output) > 0);
        broker.grow(&output, 5);
        let done = running.finish().expect(1).says("has grown from 2 to 5 partitions");
        assert_eq!(done.stderr.lines().count(), 1, "one message: {}", done.stderr);
        produce(&events[1500..]);
        run(&format!("{job} --until-end -w 3"), &[]).expect(0);
        let expected = lists_from_file(&folder, &events, "");
        assert!(lists_at_home(&broker, &output) == expected, "{envelope}");
        let before = broker.records(&output);
        run(&format!("{job} --until-end"), &[]).expect(0).says(", 0 lists changed in 0 records");
        assert_eq!(broker.records(&output), before, "{envelope}");
        // The output grew while the job was stopped, and the envelope changes too.
        broker.grow(&output, 7);
        run(&format!("{job} --until-end"), &[]).expect(0);
        assert!(lists_at_home(&broker, &output) == expected, "{envelope}");
        // A consumer that reads all partitions as one table gets the same lists.
        let table = run(&format!("top {} --input kafka:{output} --limit 10000", broker.flags), &[]).expect(0);
        let rows = String::from_utf8_lossy(&table.stdout).lines().filter(|row| !row.starts_with(' ')).count();
        assert!(rows > expected.lines().count(), "{rows} rows of {}", expected.lines().count());
    }
}

/// An output grows while the job is killed at random, with changing workers and processes.
#[test]
fn killed_at_random_while_the_output_grows() {
    let Some(broker) = Broker::new() else { return };
    let kills = std::env::var("DELTACART_TEST_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let seed = std::env::var("DELTACART_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Random::new(seed);
    let (folder, events) = (Folder::new(), shop(20_000));
    let (topic, output, group) = (broker.topic("carts"), unused("lists"), unused("group"));
    let places = format!("--input kafka:{topic} --output kafka:{output} -G {group}");
    let job = format!("run {} {places} --output-partitions 1 --epoch 10ms --slots 18", broker.flags);
    let (mut sent, mut partitions) = (0, 1);
    for kill in 0..kills {
        let (workers, processes) = (1 + random.below(3), 1 + random.below(2));
        let line = format!("{job} -w {workers} --metadata-refresh 300ms");
        let cluster = Cluster::start(&folder, processes as usize, &line);
        let share = (events.len() - sent) / (kills - kill) as usize;
        for part in events[sent..sent + share].chunks(share.div_ceil(4).max(1)) {
            broker.produce(&topic, part.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
            thread::sleep(Duration::from_millis(random.below(500)));
            // The output grows while the job runs. Then the job ends with an error, if it is not killed before.
            if broker.has(&output) && partitions < 9 && random.below(5) == 0 {
                partitions += 1 + random.below(2) as u32;
                broker.grow(&output, partitions);
            }
        }
        sent += share;
        cluster.kill(random.below(2) as usize);
        println!(
            "kill {kill}: {processes} processes of {workers} workers, {partitions} partitions, {sent} events"
        );
    }
    run(&format!("{job} --until-end -w 2"), &[]).expect(0);
    let seen = check_history(&broker, &output);
    let expected = lists_from_file(&folder, &events, "");
    assert!(canonical(&seen.lists) == expected, "the lists at the end are others, seed {seed}");
    assert!(lists_at_home(&broker, &output) == expected, "seed {seed}");
    run(&format!("{job} --until-end -w 3"), &[]).expect(0).says(", 0 lists changed in 0 records");
}

/// Regression: an output was deleted while the job started, and another client created it again. It had one partition
/// and a policy that deletes records by age, and the job continued with it.
#[test]
fn an_output_that_is_another_one_is_noticed() {
    let Some(broker) = Broker::new() else { return };
    let (topic, output) = (broker.topic("carts"), unused("lists"));
    broker.produce(&topic, shop(100).iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let spec = TopicSpec { name: &output, partitions: 2, compacted: true };
    let began = ensure_topic(&broker.settings, &spec).unwrap();
    let watch =
        || OutputWatch::start(&broker.settings, (&output, true), began.clone(), Duration::from_millis(100));
    let mut watching = watch().unwrap();
    delete(&broker, &output);
    wait_until("it is gone", || !broker.has(&output));
    // A client that lets the broker create topics brings it back.
    let brokers = broker.settings.brokers();
    let careless: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    careless.send(BaseRecord::to(&output).key("a").payload("")).map_err(|(error, _)| error).unwrap();
    careless.flush(PATIENCE).unwrap();
    let said = watch().err().unwrap().to_string();
    assert!(said.contains("was deleted and created again") && said.contains("cleanup.policy"), "{said}");
    let mut noticed = None;
    wait_until("it is noticed while the job runs", || {
        noticed = watching.check().err();
        noticed.is_some()
    });
    let noticed = noticed.unwrap().to_string();
    assert!(noticed.contains(" was deleted"), "{noticed}");
    // A later start warns of the policy.
    let places = format!("--input kafka:{topic} --output kafka:{output} --until-end");
    run(&format!("run {} {places}", broker.flags), &[]).expect(1).says("cleanup.policy is delete");
}

/// The job sets the properties of a topic that it creates, and advises on those of others. With a broker's defaults,
/// a topic is compacted only hours later, when it has each list a hundred times.
#[test]
fn a_table_is_compacted_often_or_there_is_advice() {
    let Some(broker) = Broker::new() else { return };
    let (topic, output) = (broker.topic("carts"), unused("lists"));
    broker.produce(&topic, shop(100).iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    let job = |output: &str| {
        let places = format!("--input kafka:{topic} --output kafka:{output} --until-end");
        run(&format!("run {} {places} --log warn", broker.flags), &[]).expect(0)
    };
    let done = job(&output);
    assert!(!done.stderr.contains("WARN"), "{}", done.stderr);
    let made = broker.properties(&output);
    for (name, value) in TABLE_PROPERTIES.iter().chain(&[("cleanup.policy", "compact")]) {
        assert_eq!(made.get(*name).map(String::as_str), Some(*value), "{name}");
    }
    assert!(!job(&output).stderr.contains("WARN"));
    // A topic that somebody else has created.
    let theirs = unused("theirs");
    broker.make(&theirs, &[("cleanup.policy", "compact"), ("segment.bytes", "500000000")]);
    let done = job(&theirs).says("better: kafka-configs.sh").says("--entity-name test-theirs-");
    done.says(" --add-config segment.ms=600000,min.cleanable.dirty.ratio=0.1");
}
