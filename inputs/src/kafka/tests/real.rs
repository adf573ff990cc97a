//! A source over a real broker: what the mock cannot do. `DELTACART_TEST_BROKERS` names one (`scripts/kafka start`),
//! `DELTACART_TEST_SASL_BROKERS` its listener with passwords (`scripts/kafka start --sasl`).

use super::*;
use crate::OnExpired;
use crate::skipped::skip;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{SystemTime, UNIX_EPOCH};

/// The brokers that a variable names; says so when it names none.
fn brokers(variable: &str) -> Option<KafkaSettings> {
    let brokers = std::env::var(variable).ok().filter(|brokers| !brokers.is_empty());
    if brokers.is_none() {
        skip(format_args!("{variable} is not set; scripts/kafka start --sasl prints a broker to set it to"));
    }
    brokers.map(KafkaSettings::new)
}

fn real() -> Option<KafkaSettings> {
    brokers("DELTACART_TEST_BROKERS")
}

/// Runs a future of rdkafka's administration, which a thread of its own completes.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn admin(settings: &KafkaSettings) -> AdminClient<DefaultClientContext> {
    settings.client_config(Role::Admin).create().unwrap()
}

/// A topic that no other test and no other run has, of which the name begins with `prefix`.
fn make_topic(settings: &KafkaSettings, prefix: &str, partitions: i32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let topic = format!("{prefix}-{now}-{}", std::process::id());
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    let made = wait_for(admin(settings).create_topics(&[new], &AdminOptions::new())).unwrap();
    made[0].as_ref().unwrap();
    topic
}

fn transactional(settings: &KafkaSettings, id: &str) -> BaseProducer {
    let mut config = settings.client_config(Role::Producer);
    let producer: BaseProducer = config.set("transactional.id", id).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

#[test]
fn transactions_end_in_markers_and_take_things_back() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "transactions", 4);
    let producer = transactional(&settings, &topic);
    for (round, kept) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        for partition in 0..3 {
            send(&producer, &topic, partition, &[round, round]);
        }
        if kept {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    // Partition 1 ends in what was taken back, partition 2 in what is not decided; partition 3 is empty.
    for (partition, decided) in [(1, true), (2, false)] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, partition, &["d"]);
        if decided {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let mut all = Vec::new();
    for worker in 0..2 {
        let share = Share { worker, workers: 2 };
        let mut source = KafkaSource::new(&settings, KafkaParams { share, ..params(&topic) }).unwrap();
        all.extend(read_to_end(&mut source).unwrap());
    }
    for partition in 0..3 {
        let of_partition: Vec<Seen> =
            all.iter().filter(|record| record.partition == partition).cloned().collect();
        assert_eq!(values(&of_partition), ["a", "a", "c", "c"]);
        let offsets: Vec<u64> = of_partition.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 6, 7], "two records and a marker a round");
    }
    assert_eq!(all.len(), 12);
    producer.abort_transaction(PATIENCE).unwrap();
}

#[test]
fn partitions_that_appear_are_read_from_their_beginning() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "growing", 2);
    let mut sources: Vec<KafkaSource> = (0..2)
        .map(|worker| {
            let share = Share { worker, workers: 2 };
            let params = KafkaParams { share, from: StartFrom::End, until_end: false, ..params(&topic) };
            KafkaSource::new(&settings, params).unwrap()
        })
        .collect();
    let grown = NewPartitions::new(&topic, 5);
    wait_for(admin(&settings).create_partitions(&[grown], &AdminOptions::new())).unwrap()[0]
        .as_ref()
        .unwrap();
    let producer = producer(&settings);
    for partition in 0..5 {
        send(&producer, &topic, partition, &["x", "y"]);
    }
    let seen: Vec<Vec<Seen>> =
        sources.iter_mut().zip([6, 4]).map(|(source, count)| read(source, count).unwrap()).collect();
    for (worker, seen) in seen.iter().enumerate() {
        for partition in (worker as u32..5).step_by(2) {
            let of_partition: Vec<Seen> =
                seen.iter().filter(|record| record.partition == partition).cloned().collect();
            assert_eq!(values(&of_partition), ["x", "y"], "partition {partition}");
        }
    }
    assert_eq!(sources[0].partitions().unwrap(), [0, 2, 4]);
    assert_eq!((seen[0].len(), seen[1].len()), (6, 4));
}

#[test]
fn from_a_time() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "times", 3);
    let producer = producer(&settings);
    for (partition, times) in [(0, &[1000, 2000, 3000][..]), (1, &[100, 200])] {
        for time in times {
            let value = time.to_string();
            let record: BaseRecord<'_, str, str> =
                BaseRecord::to(&topic).partition(partition).payload(&value);
            producer.send(record.timestamp(*time)).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
    let from = StartFrom::Timestamp(2000);
    let mut bounded = KafkaSource::new(&settings, KafkaParams { from, ..params(&topic) }).unwrap();
    assert_eq!(values(&read_to_end(&mut bounded).unwrap()), ["2000", "3000"]);
    let endless = KafkaParams { from, until_end: false, ..params(&topic) };
    let mut source = KafkaSource::new(&settings, endless).unwrap();
    send(&producer, &topic, 1, &["new"]);
    let mut seen = read(&mut source, 3).unwrap();
    seen.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(values(&seen), ["2000", "3000", "new"]);
}

#[test]
fn others_see_the_offsets_of_the_group() {
    let Some(mut settings) = real() else { return };
    let topic = make_topic(&settings, "committed", 2);
    settings.set("group.id", &topic).unwrap();
    send(&producer(&settings), &topic, 1, &["a", "b", "c"]);
    let endless = KafkaParams { until_end: false, from: StartFrom::Committed, ..params(&topic) };
    let mut source = KafkaSource::new(&settings, endless.clone()).unwrap();
    assert_eq!(read(&mut source, 3).unwrap().len(), 3);
    source.commit(&[(1, 1)]).unwrap();
    source.commit(&[(0, 0), (1, 2)]).unwrap();
    source.close(PATIENCE).unwrap();
    drop(source);

    let tool: BaseConsumer = settings.client_config(Role::Consumer).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(&topic, 0, 1);
    let committed = tool.committed_offsets(asked, PATIENCE).unwrap();
    let offsets: Vec<Offset> = committed.elements().iter().map(|partition| partition.offset()).collect();
    assert_eq!(offsets, [Offset::Offset(0), Offset::Offset(2)]);

    let mut source = KafkaSource::new(&settings, endless).unwrap();
    assert_eq!(values(&read(&mut source, 1).unwrap()), ["c"]);
}

#[test]
fn a_topic_that_is_deleted_is_an_error() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "deleted", 2);
    let mut source = KafkaSource::new(&settings, KafkaParams { until_end: false, ..params(&topic) }).unwrap();
    send(&producer(&settings), &topic, 0, &["a"]);
    assert_eq!(read(&mut source, 1).unwrap().len(), 1);
    wait_for(admin(&settings).delete_topics(&[&topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        if let Err(error) = fetch(&mut source, &mut Vec::new()) {
            break error.to_string();
        }
        assert!(Instant::now() < deadline, "the deletion goes unnoticed");
        thread::sleep(Duration::from_millis(5));
    };
    assert!(error.contains(&format!("topic {topic} does not exist")), "{error}");
}

#[test]
fn records_that_retention_took_are_missed() {
    let Some(mut settings) = real() else { return };
    let topic = make_topic(&settings, "retention", 1);
    settings.set("group.id", &topic).unwrap();
    send(&producer(&settings), &topic, 0, &["a", "b", "c"]);
    let committed = KafkaParams { from: StartFrom::Committed, ..params(&topic) };
    let mut source = KafkaSource::new(&settings, committed.clone()).unwrap();
    source.commit(&[(0, 1)]).unwrap();
    source.close(PATIENCE).unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(2)).unwrap();
    wait_for(admin(&settings).delete_records(&before, &AdminOptions::new())).unwrap();
    // At the start that is a warning; the group's place is gone for good.
    let mut later = KafkaSource::new(&settings, committed.clone()).unwrap();
    assert_eq!(values(&read_to_end(&mut later).unwrap()), ["c"]);
    // Beyond the end there can be no place: the topic is another one.
    later.commit(&[(0, 9)]).unwrap();
    later.close(PATIENCE).unwrap();
    let (message, _) = refusal(&settings, committed);
    assert!(message.contains("--from beginning"), "{message}");
}

fn reader() -> Option<(KafkaSettings, KafkaSettings)> {
    let (open, mut secured) = (real()?, brokers("DELTACART_TEST_SASL_BROKERS")?);
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "reader"),
        ("sasl.password", "reader-secret"),
        ("group.id", "readable-group"),
    ] {
        secured.set(name, value).unwrap();
    }
    Some((open, secured))
}

#[test]
fn permissions_that_are_there_and_that_are_not() {
    let Some((open, reader)) = reader() else { return };
    let topic = make_topic(&open, "readable", 1);
    send(&producer(&open), &topic, 0, &["a"]);
    let mut source = KafkaSource::new(&reader, params(&topic)).unwrap();
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["a"]);
    source.commit(&[(0, 1)]).unwrap();
    source.close(PATIENCE).unwrap();

    let mut of_others = reader.clone();
    of_others.set("group.id", "others").unwrap();
    let (message, took) = refusal(&of_others, params(&topic));
    assert!(message.starts_with("no permission for the consumer group others at "), "{message}");
    assert!(
        message.ends_with("grant READ on it to the user reader, or choose another with -X group.id=NAME")
    );
    assert!(took < Duration::from_secs(10), "{took:?}");

    let hidden = make_topic(&open, "hidden", 1);
    let (message, took) = refusal(&reader, params(&hidden));
    assert!(message.starts_with(&format!("no permission for topic {hidden} at ")), "{message}");
    assert!(
        message.ends_with("grant READ (to write: WRITE) and DESCRIBE on it to the user reader"),
        "{message}"
    );
    assert!(took < Duration::from_secs(10), "{took:?}");

    // It may be looked at, so this comes up only when records are fetched.
    let described = make_topic(&open, "described", 1);
    send(&producer(&open), &described, 0, &["a"]);
    let mut source = KafkaSource::new(&reader, params(&described)).unwrap();
    let message = read_to_end(&mut source).unwrap_err().to_string();
    assert!(message.starts_with(&format!("no permission for topic {described} at ")), "{message}");
}

#[test]
fn logins_that_are_refused() {
    let Some((open, reader)) = reader() else { return };
    let mut wrong = reader.clone();
    wrong.set("sasl.password", "hunter2").unwrap();
    let (message, took) = refusal(&wrong, params("readable"));
    assert!(message.contains(" refuses the login to the user reader ("), "{message}");
    assert!(
        message.contains("Invalid username or password") && message.contains("sasl.password"),
        "{message}"
    );
    assert!(!message.contains("hunter2") && took < Duration::from_secs(5), "{took:?}: {message}");

    // The listener that wants a password, asked without one; and the other way round.
    let bare = KafkaSettings::new(reader.brokers()).with_startup_timeout(Duration::from_secs(1));
    let (message, _) = refusal(&bare, params("readable"));
    assert!(message.contains("no broker answers") && message.contains("security.protocol"), "{message}");
    let mut needless = reader.with_startup_timeout(Duration::from_secs(1));
    needless.set("bootstrap.servers", open.brokers()).unwrap();
    let (message, _) = refusal(&needless, params("readable"));
    assert!(message.contains("security.protocol"), "{message}");
}

#[test]
fn what_retention_has_removed_is_told_or_gone_without() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "expired", 1);
    send(&producer(&settings), &topic, 0, &["a", "b", "c", "d"]);
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&topic, 0, Offset::Offset(3)).unwrap();
    wait_for(admin(&settings).delete_records(&gone, &AdminOptions::new())).unwrap();

    let resume = |offset, on_expired| {
        let resume = Resume { offsets: [(0, offset)].into(), identity: None, on_expired };
        KafkaSource::resume(&settings, KafkaParams { asks_id: true, ..params(&topic) }, &resume)
    };
    let error = resume(1, OnExpired::Fail).err().unwrap().to_string();
    assert!(error.contains("begins at offset 3, but the job is to resume at 1"), "{error}");
    assert!(error.contains("--on-expired continue"), "{error}");
    let mut source = resume(1, OnExpired::Continue).unwrap();
    assert_eq!(source.first_offset(0), 3);
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["d"]);
    let mut source = resume(3, OnExpired::Fail).unwrap();
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["d"], "nothing is missing");
}

#[test]
fn a_topic_that_was_made_anew_is_told_or_read_from_its_beginning() {
    let Some(settings) = real() else { return };
    let topic = make_topic(&settings, "again", 1);
    send(&producer(&settings), &topic, 0, &["a", "b"]);
    let source = KafkaSource::new(&settings, KafkaParams { asks_id: true, ..params(&topic) }).unwrap();
    let identity = source.identity().map(str::to_owned);
    assert_eq!(identity.as_ref().map(String::len), Some(22), "{identity:?}");
    let resume = |identity: &Option<String>, on_expired| {
        let resume = Resume { offsets: [(0, 2)].into(), identity: identity.clone(), on_expired };
        KafkaSource::resume(&settings, KafkaParams { asks_id: true, ..params(&topic) }, &resume)
    };
    assert!(
        read_to_end(&mut resume(&identity, OnExpired::Fail).unwrap()).unwrap().is_empty(),
        "it is the same"
    );
    drop(source);

    wait_for(admin(&settings).delete_topics(&[&topic], &AdminOptions::new())).unwrap();
    let partitions = || topic_partitions(&settings, &topic).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while partitions().is_some() {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    wait_for(admin(&settings).create_topics([&new], &AdminOptions::new())).unwrap();
    // As many records as before, and more: offsets tell nothing.
    send(&producer(&settings), &topic, 0, &["c", "d", "e"]);
    let error = resume(&identity, OnExpired::Fail).err().unwrap().to_string();
    assert!(error.contains("it was deleted and created again (its id was "), "{error}");
    let mut source = resume(&identity, OnExpired::Continue).unwrap();
    assert_ne!(source.identity(), identity.as_deref());
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["c", "d", "e"]);
    let mut source = resume(&None, OnExpired::Fail).unwrap();
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["e"], "of a snapshot without the id");
}
