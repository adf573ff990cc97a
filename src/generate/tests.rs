//! Files byte by byte, topics on the mock broker and a real one, how runs end, and invalid options.

use super::*;
use crate::output::kafka::mock::{Mock, consume};
use crate::skipped::skip;
use std::collections::BTreeMap;

static NEVER: AtomicBool = AtomicBool::new(false);

fn options(output: Destination, events: Option<u64>) -> GenerateOptions {
    let shop = ShopSettings { events, seed: 5, ..ShopSettings::default() };
    GenerateOptions {
        shop,
        output,
        kafka: None,
        partitions: 4,
        rate: None,
        head_start: 0,
        existing: ExistingFile::Replace,
    }
}

/// The lines that the shop itself gives.
fn expected(events: u64) -> Vec<String> {
    let settings = ShopSettings { events: Some(events), seed: 5, ..ShopSettings::default() };
    let line = |event: CartEvent| {
        let mut text = Vec::new();
        event.write_json(&mut text);
        String::from_utf8(text).unwrap()
    };
    Shop::new(settings).unwrap().map(line).collect()
}

#[test]
fn a_file_has_the_events_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    for rate in [None, Some(20_000.0)] {
        let options = GenerateOptions {
            rate,
            ..options(Destination::File(path.to_str().unwrap().to_owned()), Some(2_000))
        };
        let mut told = Vec::new();
        let generated = generate_watched(&options, &NEVER, &mut |events| told.push(events)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected(2_000));
        assert_eq!((generated.events, generated.bytes), (2_000, text.len() as u64));
        assert!(told.is_sorted() && told.last() == Some(&2_000));
    }
}

#[test]
fn a_rate_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl").to_str().unwrap().to_owned();
    let options = GenerateOptions {
        rate: Some(1_000.0),
        head_start: 500,
        existing: ExistingFile::Refuse,
        ..options(Destination::File(path), Some(800))
    };
    let generated = generate(&options, &NEVER).unwrap();
    assert_eq!(generated.events, 800);
    // The events after the head start take 0.3 s. How much longer it takes is up to the machine.
    assert!(generated.elapsed >= Duration::from_millis(300), "{generated}");
}

#[test]
fn a_stop_is_seen_soon() {
    let stop = AtomicBool::new(false);
    let options =
        GenerateOptions { rate: Some(0.001), ..options(Destination::File("/dev/null".to_owned()), None) };
    let generated = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        generate(&options, &stop).unwrap()
    });
    assert_eq!(generated.events, 0);
    assert!(generated.elapsed < Duration::from_secs(10), "{generated}");
}

#[test]
fn a_basket_lies_in_one_partition_in_order() {
    let mock = Mock::new("carts", 4);
    let options = GenerateOptions {
        kafka: Some(mock.settings(&[])),
        ..options(Destination::Topic("carts".to_owned()), Some(1_500))
    };
    let generated = generate(&options, &NEVER).unwrap();
    assert_eq!(generated.events, 1_500);
    let mut by_basket: BTreeMap<Vec<u8>, (i32, Vec<String>)> = BTreeMap::new();
    let mut bytes = 0;
    for record in mock.consume(1_500) {
        let (key, value) = (record.key.unwrap(), record.value.unwrap());
        bytes += (key.len() + value.len()) as u64;
        let (partition, events) = by_basket.entry(key).or_insert((record.partition, Vec::new()));
        assert_eq!(*partition, record.partition);
        events.push(String::from_utf8(value).unwrap());
    }
    assert_eq!(generated.bytes, bytes);
    let mut expected_by_basket: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    let shop = Shop::new(options.shop).unwrap();
    for (event, text) in shop.zip(expected(1_500)) {
        expected_by_basket.entry(event.basket_id().as_bytes().to_vec()).or_default().push(text);
    }
    let by_basket: BTreeMap<_, _> = by_basket.into_iter().map(|(key, (_, events))| (key, events)).collect();
    assert_eq!(by_basket, expected_by_basket);
}

#[test]
fn what_has_no_end_needs_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl").to_str().unwrap().to_owned();
    let brokers = Some(KafkaSettings::new("127.0.0.1:1"));
    let file = |path: &str, events| options(Destination::File(path.to_owned()), events);
    let topic = |events| options(Destination::Topic("carts".to_owned()), events);
    let errors = [
        (file(&path, None), Err(GenerateError::EndlessFile(path.clone()))),
        (file(&path, Some(1)), Ok(())),
        (file("-", None), Ok(())),
        (file("/dev/null", None), Ok(())),
        (topic(None), Err(GenerateError::EndlessTopic("carts".to_owned()))),
        (topic(Some(1)), Err(GenerateError::NoBrokers("carts".to_owned()))),
        (GenerateOptions { kafka: brokers.clone(), ..topic(Some(1)) }, Ok(())),
        (GenerateOptions { kafka: brokers, rate: Some(1.0), ..topic(None) }, Ok(())),
    ];
    for (options, expected) in errors {
        assert_eq!(options.validate(), expected, "{options:?}");
    }
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = GenerateOptions { rate: Some(rate), ..file("-", None) };
        assert!(matches!(options.validate(), Err(GenerateError::Rate(_))), "{rate}");
    }
    let mut impossible = file(&path, Some(1));
    impossible.shop.items = 0;
    let error = generate(&impossible, &NEVER).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(GenerateError::Shop(_))), "{error:#}");
    assert!(!fs::exists(path).unwrap(), "nothing is written before the settings are known to be good");
}

#[test]
fn a_reader_that_left_is_an_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut writer = EventWriter::Lines { file: FileSink::new("-", Box::new(writer)), paced: true };
    let mut shop = Shop::new(ShopSettings::default()).unwrap();
    let pace = Pace::new(None, 0);
    let written = write(&mut shop, &mut writer, pace, Instant::now(), &NEVER, &mut |_more| {});
    assert!(matches!(written, Err(SinkError::Closed { .. })));
}

#[test]
fn a_missing_topic_is_made() {
    let Ok(brokers) = std::env::var("DELTACART_TEST_BROKERS") else {
        return skip("DELTACART_TEST_BROKERS is not set");
    };
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let topic = format!("carts-{nanos}");
    let options = GenerateOptions {
        kafka: Some(KafkaSettings::new(&brokers)),
        partitions: 3,
        ..options(Destination::Topic(topic.clone()), Some(1_000))
    };
    // The second run finds the topic that the first has created.
    for _ in 0..2 {
        assert_eq!(generate(&options, &NEVER).unwrap().events, 1_000);
    }
    let mut by_partition = [0; 3];
    for record in consume(&brokers, &topic, 3, 2_000) {
        by_partition[record.partition as usize] += 1;
        // The timestamp is the time of sending, not the shop's, which is in the first hours of 2026.
        assert!(record.timestamp.unwrap() > ShopSettings::default().start_ms + 3_600_000);
    }
    assert!(by_partition.iter().all(|&records| records > 0), "{by_partition:?}");
}
