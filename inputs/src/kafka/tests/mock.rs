//! A source over librdkafka's mock brokers.

use super::*;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;

type Mock = MockCluster<'static, DefaultProducerContext>;

/// A broker with a topic, and how to reach it.
fn mock(topic: &str, partitions: i32) -> (Mock, KafkaSettings) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, partitions, 1).unwrap();
    let mut settings = KafkaSettings::new(mock.bootstrap_servers()).with_startup_timeout(PATIENCE);
    // The mock lets every empty fetch wait to the end, even if something arrives.
    settings.set("fetch.wait.max.ms", "5").unwrap();
    (mock, settings)
}

#[test]
fn two_workers_read_everything_once() {
    let (_mock, settings) = mock("carts", 4);
    let producer = producer(&settings);
    for number in 0..2000 {
        let (key, value) = (format!("k{number}"), format!("v{number}"));
        let headers = OwnedHeaders::new()
            .insert(Header { key: "id", value: Some(&value) })
            .insert(Header { key: "none", value: None::<&str> })
            .insert(Header { key: "id", value: Some("") });
        let record =
            BaseRecord::to("carts").partition(number % 4).key(&key).timestamp(1_000_000 + i64::from(number));
        let record = if number % 10 == 9 { record } else { record.payload(&value) };
        let record = if number % 3 == 0 { record.headers(headers) } else { record };
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();

    let mut all = Vec::new();
    for worker in 0..2 {
        let share = Share { worker, workers: 2 };
        let mut source = KafkaSource::new(&settings, KafkaParams { share, ..params("carts") }).unwrap();
        assert_eq!(source.partitions().unwrap(), [worker as u32, worker as u32 + 2]);
        assert!(!source.may_grow());
        all.extend(read_to_end(&mut source).unwrap());
    }
    assert_eq!(all.len(), 2000);
    all.sort_by_key(|record| (record.offset, record.partition));
    for (number, record) in all.into_iter().enumerate() {
        let (value, some) = (format!("v{number}"), |text: &str| Some(text.to_string()));
        let headers = [("id", some(&value)), ("none", None), ("id", some(""))];
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let expected = Seen {
            partition: number as u32 % 4,
            offset: number as u64 / 4,
            key: Some(format!("k{number}")),
            value: (number % 10 != 9).then_some(value),
            headers: if number % 3 == 0 { headers } else { Vec::new() },
            timestamp: Some(1_000_000 + number as i64),
            truncated: false,
        };
        assert_eq!(record, expected);
    }
}

#[test]
fn a_bounded_run_ends_where_the_topic_ended_at_its_start() {
    let (_mock, settings) = mock("carts", 3);
    let producer = producer(&settings);
    send(&producer, "carts", 0, &["a", "b"]);
    let mut source = KafkaSource::new(&settings, params("carts")).unwrap();
    send(&producer, "carts", 0, &["later"]);
    send(&producer, "carts", 1, &["later"]);
    assert_eq!(values(&read_to_end(&mut source).unwrap()), ["a", "b"]);
    assert!(read_to_end(&mut source).unwrap().is_empty(), "the end is for good");
}

#[test]
fn from_the_end_only_what_comes_later() {
    let (_mock, settings) = mock("carts", 2);
    let producer = producer(&settings);
    send(&producer, "carts", 0, &["before", "before"]);
    let mut source = KafkaSource::new(
        &settings,
        KafkaParams { from: StartFrom::End, until_end: false, ..params("carts") },
    )
    .unwrap();
    assert!(source.may_grow());
    send(&producer, "carts", 0, &["after 0"]);
    send(&producer, "carts", 1, &["after 1"]);
    let mut seen = read(&mut source, 2).unwrap();
    seen.sort_by_key(|record| record.partition);
    assert_eq!(values(&seen), ["after 0", "after 1"]);
    assert_eq!((seen[0].offset, seen[1].offset), (2, 0));

    let bounded = KafkaParams { from: StartFrom::End, ..params("carts") };
    assert!(read_to_end(&mut KafkaSource::new(&settings, bounded).unwrap()).unwrap().is_empty());
}

#[test]
fn from_where_the_group_stopped() {
    let (_mock, mut settings) = mock("carts", 2);
    settings.set("group.id", "shop").unwrap();
    let producer = producer(&settings);
    send(&producer, "carts", 0, &["a", "b", "c"]);
    send(&producer, "carts", 1, &["d", "e"]);
    let committed = KafkaParams { from: StartFrom::Committed, ..params("carts") };

    let mut source = KafkaSource::new(&settings, committed.clone()).unwrap();
    assert_eq!(read_to_end(&mut source).unwrap().len(), 5, "of a group that knows nothing, everything");
    for offset in 0..=2 {
        source.commit(&[(0, offset)]).unwrap();
    }
    source.close(PATIENCE).unwrap();
    drop(source);

    let mut source = KafkaSource::new(&settings, committed).unwrap();
    let mut seen = read_to_end(&mut source).unwrap();
    seen.sort_by_key(|record| record.partition);
    assert_eq!(values(&seen), ["c", "d", "e"]);
}

#[test]
fn goes_on_at_offsets_of_its_own() {
    let (_mock, settings) = mock("carts", 3);
    let producer = producer(&settings);
    for partition in 0..3 {
        send(&producer, "carts", partition, &["a", "b", "c"]);
    }
    let resume =
        |partition: u32, offset| Resume { offsets: [(partition, offset)].into(), ..Resume::default() };
    let mut source = KafkaSource::resume(&settings, params("carts"), &resume(1, 2)).unwrap();
    assert_eq!([0, 1, 2].map(|partition| source.first_offset(partition)), [0, 2, 0]);
    let mut seen = read_to_end(&mut source).unwrap();
    seen.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(values(&seen), ["a", "b", "c", "c", "a", "b", "c"], "what is not given is read whole");

    let mut ended = KafkaSource::resume(&settings, params("carts"), &resume(2, 3)).unwrap();
    assert_eq!(read_to_end(&mut ended).unwrap().len(), 6);
    let error = KafkaSource::resume(&settings, params("carts"), &resume(0, 4)).err().unwrap().to_string();
    assert!(error.contains("partition 0 of topic carts ends at offset 3, but it was read to 4"), "{error}");
}

#[test]
fn long_values_and_many_headers() {
    let (_mock, settings) = mock("carts", 1);
    let producer = producer(&settings);
    let names: Vec<String> = (0..40).map(|number| format!("name {number}")).collect();
    for count in [15, 16, 17, 40] {
        let headers = names[..count].iter().fold(OwnedHeaders::new(), |headers, name| {
            headers.insert(Header { key: name, value: Some(name) })
        });
        let record: BaseRecord<'_, str, str> = BaseRecord::to("carts").payload("123456").headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let mut source =
        KafkaSource::new(&settings, KafkaParams { record_bytes_max: 5, ..params("carts") }).unwrap();
    let seen = read_to_end(&mut source).unwrap();
    for (record, count) in seen.iter().zip([15, 16, 17, 40]) {
        assert_eq!((record.value.as_deref(), record.truncated), (Some("12345"), true));
        let expected: Vec<_> = names[..count].iter().map(|name| (name.clone(), Some(name.clone()))).collect();
        assert_eq!(record.headers, expected);
    }
    assert_eq!(seen.len(), 4);
}

/// rdkafka's own accessor panics here.
#[test]
fn a_header_name_that_is_not_utf_8() {
    let (_mock, settings) = mock("carts", 1);
    let producer = producer(&settings);
    let bytes = vec![b'a', 0xff, b'b'];
    // SAFETY: a test's way to send what other clients can send; the text is only copied, by its length.
    #[allow(unsafe_code)]
    let name = unsafe { str::from_utf8_unchecked(&bytes) };
    let headers = OwnedHeaders::new().insert(Header { key: name, value: Some("x") });
    let headers = headers.insert(Header { key: "good", value: Some("y") });
    let record: BaseRecord<'_, str, str> = BaseRecord::to("carts").payload("value").headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let seen = read_to_end(&mut KafkaSource::new(&settings, params("carts")).unwrap()).unwrap();
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["\u{fffd}", "good"]);
}

#[test]
fn a_large_backlog_comes_in_order_by_the_right_queues() {
    let (_mock, settings) = mock("carts", 4);
    let producer = producer(&settings);
    for number in 0..40_000 {
        let value = number.to_string();
        let record: BaseRecord<'_, str, str> = BaseRecord::to("carts").partition(number % 4).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
    let seen = read_to_end(&mut KafkaSource::new(&settings, params("carts")).unwrap()).unwrap();
    assert_eq!(seen.len(), 40_000);
    let mut next = [0; 4];
    for record in &seen {
        assert_eq!(record.offset, next[record.partition as usize]);
        next[record.partition as usize] += 1;
        assert_eq!(record.value, Some((record.offset * 4 + u64::from(record.partition)).to_string()));
    }
}

#[test]
fn no_broker_answers() {
    let settings = KafkaSettings::new("127.0.0.1:1").with_startup_timeout(Duration::from_secs(1));
    let (message, took) = refusal(&settings, params("carts"));
    assert!(message.starts_with("no broker answers at 127.0.0.1:1 ("), "{message}");
    assert!(message.contains("Connection refused") && message.contains("-b/--brokers"), "{message}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(topic_partitions(&settings, "carts").unwrap_err().to_string().contains("-b/--brokers"));
    let settings =
        KafkaSettings::new("no-such-host.invalid:9092").with_startup_timeout(Duration::from_secs(1));
    let (message, _) = refusal(&settings, params("carts"));
    assert!(message.starts_with("no broker answers at no-such-host.invalid:9092 ("), "{message}");
}

#[test]
fn something_else_listens_where_a_broker_should() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = silent.local_addr().unwrap().to_string();
    let settings = KafkaSettings::new(&brokers).with_startup_timeout(Duration::from_secs(1));
    let (message, took) = refusal(&settings, params("carts"));
    assert_eq!(
        message,
        format!("no broker answers at {brokers}: check -b/--brokers and -X security.protocol")
    );
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_partition_without_a_leader() {
    let (mock, settings) = mock("carts", 2);
    mock.partition_leader("carts", 1, None).unwrap();
    let settings = settings.with_startup_timeout(Duration::from_secs(1));
    let (message, took) = refusal(&settings, params("carts"));
    assert!(message.starts_with("topic carts has a partition without a leader at "), "{message}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn topics_that_are_not_there() {
    let (_mock, settings) = mock("carts", 3);
    assert_eq!(topic_partitions(&settings, "carts").unwrap(), Some(3));
    assert_eq!(topic_partitions(&settings, "cats").unwrap(), None);
    let (message, took) = refusal(&settings, params("cats"));
    let expected =
        format!("topic cats does not exist at {}: create it, or check its name", settings.brokers());
    assert_eq!(message, expected);
    assert!(took < Duration::from_secs(10), "{took:?}");
    for name in ["", "..", "my carts", "a\0b", &"x".repeat(250)] {
        let message = topic_partitions(&settings, name).unwrap_err().to_string();
        assert!(message.contains("a name that Kafka does not allow"), "{message}");
    }
}

#[test]
fn a_topic_that_may_not_be_used() {
    let (mock, settings) = mock("carts", 1);
    mock.topic_error("carts", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let (message, took) = refusal(&settings, params("carts"));
    assert!(message.starts_with("no permission for topic carts at "), "{message}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_broker_that_went_away_holds_nobody_up() {
    let (mock, settings) = mock("carts", 2);
    send(&producer(&settings), "carts", 0, &["a"]);
    let mut source =
        KafkaSource::new(&settings, KafkaParams { until_end: false, ..params("carts") }).unwrap();
    assert_eq!(values(&read(&mut source, 1).unwrap()), ["a"]);
    mock.broker_down(1).unwrap();
    assert!(read(&mut source, 0).unwrap().is_empty(), "librdkafka tries again: no error");
    source.commit(&[(0, 1)]).unwrap();
    let began = Instant::now();
    assert!(source.close(Duration::from_millis(200)).is_err());
    drop(source);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[test]
fn the_job_goes_on_when_a_broker_comes_back() {
    let (mock, settings) = mock("carts", 1);
    let producer = producer(&settings);
    send(&producer, "carts", 0, &["a"]);
    let mut source =
        KafkaSource::new(&settings, KafkaParams { until_end: false, ..params("carts") }).unwrap();
    assert_eq!(values(&read(&mut source, 1).unwrap()), ["a"]);
    mock.broker_down(1).unwrap();
    assert!(read(&mut source, 0).unwrap().is_empty());
    mock.broker_up(1).unwrap();
    send(&producer, "carts", 0, &["b"]);
    assert_eq!(values(&read(&mut source, 1).unwrap()), ["b"]);
}
