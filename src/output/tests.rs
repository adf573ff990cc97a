//! The encoder, the schemas and the fold against each other: records are valid and fold into the lists.

use super::*;
use deltacart_dataflows::{Epoch, List, Name, Neighbour};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Ids, some of which look like something else.
const ITEMS: [&str; 12] = [
    "a",
    "b",
    "85123A",
    "null",
    "17",
    r#"["a","b"]"#,
    r#"quote " and \ backslash"#,
    "control \u{0} \n \u{1b}[31m \u{7f}",
    "línea ünïcode 商品 🛒",
    "\u{2028}\u{feff}",
    "an id that is longer than what fits without an allocation",
    "{\"version\":1}",
];

fn change(item: &str, epoch: Epoch, before: &[(&str, i64, u32)], after: &[(&str, i64, u32)]) -> ListChange {
    let list = |entries: &[(&str, i64, u32)]| {
        entries.iter().map(|&(item, score, count)| Neighbour { item: item.into(), score, count }).collect()
    };
    ListChange { item: item.into(), epoch, before: list(before), after: list(after) }
}

fn options(envelope: Envelope, scores: bool) -> OutputOptions {
    OutputOptions { rows: RowKind::Item, envelope, scores, score_digits: 3 }
}

/// Keys and values as text, one record per line: `key value`. A missing value is `-`.
fn encoded(change: &ListChange, options: &OutputOptions) -> String {
    let mut records = Records::new();
    encode(change, options, &mut records);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = String::new();
    for record in records.iter() {
        lines += &format!("{} {}\n", text(record.key), record.value.map_or("-".to_owned(), text));
    }
    lines
}

fn sample() -> ListChange {
    let before = [("22423", 500, 9), ("b", 400, 8), ("c", 300, 3)];
    let after = [("21733", 1000, 812), ("c", 412, 4), ("b", 400, 8)];
    change("85123A", 48211, &before, &after)
}

#[test]
fn upsert_to_the_byte() {
    assert_eq!(
        encoded(&sample(), &options(Envelope::Upsert, true)),
        concat!(
            r#"85123A {"version":1,"item":"85123A","epoch":48211,"recommendations":["#,
            r#"{"item":"21733","score":1,"count":812},{"item":"c","score":0.412,"count":4},"#,
            r#"{"item":"b","score":0.4,"count":8}],"#,
            r#""changes":{"added":["21733"],"removed":["22423"],"rescored":["c"],"moved":["b"]}}"#,
            "\n"
        )
    );
    assert_eq!(
        encoded(&sample(), &options(Envelope::Upsert, false)),
        concat!(
            r#"85123A {"version":1,"item":"85123A","epoch":48211,"recommendations":["#,
            r#"{"item":"21733"},{"item":"c"},{"item":"b"}],"#,
            r#""changes":{"added":["21733"],"removed":["22423"],"rescored":[],"moved":["c","b"]}}"#,
            "\n"
        )
    );
    let emptied = change("a", 7, &[("b", 1, 1)], &[]);
    assert_eq!(encoded(&emptied, &options(Envelope::Upsert, true)), "a -\n");
    let mut records = Records::new();
    encode(&emptied, &options(Envelope::Upsert, true), &mut records);
    assert_eq!(
        records.front().unwrap().line.unwrap(),
        br#"{"version":1,"item":"a","epoch":7,"recommendations":[],"changes":{"added":[],"removed":["b"],"rescored":[],"moved":[]}}"#
    );
}

#[test]
fn changes_to_the_byte() {
    assert_eq!(
        encoded(&sample(), &options(Envelope::Changes, true)),
        concat!(
            r#"["85123A","22423"] {"version":1,"op":"leave","item":"85123A","other":"22423","epoch":48211}"#,
            "\n",
            r#"["85123A","22423"] -"#,
            "\n",
            r#"["85123A","21733"] {"version":1,"op":"enter","item":"85123A","other":"21733","epoch":48211,"rank":1,"score":1,"count":812}"#,
            "\n",
            r#"["85123A","c"] {"version":1,"op":"rescore","item":"85123A","other":"c","epoch":48211,"rank":2,"score":0.412,"count":4}"#,
            "\n",
            r#"["85123A","b"] {"version":1,"op":"move","item":"85123A","other":"b","epoch":48211,"rank":3,"score":0.4,"count":8}"#,
            "\n"
        )
    );
}

#[test]
fn debezium_to_the_byte() {
    let check = |before: &[_], after: &[_], expected: &str| {
        assert_eq!(encoded(&change("a", 7, before, after), &options(Envelope::Debezium, false)), expected);
    };
    let source = r#""source":{"version":"1","connector":"deltacart","name":"recommendations","epoch":7}"#;
    let (b, c) = (
        r#"{"item":"a","recommendations":[{"item":"b"}]}"#,
        r#"{"item":"a","recommendations":[{"item":"c"}]}"#,
    );
    check(&[], &[("b", 1, 1)], &format!("a {{\"before\":null,\"after\":{b},{source},\"op\":\"c\"}}\n"));
    check(
        &[("b", 1, 1)],
        &[("c", 1, 1)],
        &format!("a {{\"before\":{b},\"after\":{c},{source},\"op\":\"u\"}}\n"),
    );
    check(&[("b", 1, 1)], &[], &format!("a {{\"before\":{b},\"after\":null,{source},\"op\":\"d\"}}\na -\n"));
}

#[test]
fn the_document_shows_what_is_written() {
    let document = include_str!("../../docs/output.md");
    let emptied = change("a", 7, &[("b", 1, 1)], &[]);
    let updated = change("a", 7, &[("b", 500, 2)], &[("c", 750, 3)]);
    let mut lines = Vec::new();
    for (envelope, change) in [
        (Envelope::Upsert, sample()),
        (Envelope::Upsert, emptied),
        (Envelope::Changes, sample()),
        (Envelope::Debezium, updated),
    ] {
        let mut records = Records::new();
        encode(&change, &options(envelope, true), &mut records);
        lines.extend(
            records.iter().filter_map(|record| Some(String::from_utf8(record.line?.to_vec()).unwrap())),
        );
    }
    let mut lists = Lists::new();
    lists.apply(None, Some(lines[0].as_bytes())).unwrap();
    let mut canonical = Vec::new();
    lists.write_canonical(&mut canonical).unwrap();
    lines.push(String::from_utf8(canonical).unwrap().trim_end().to_owned());
    // Notes and dead letters have tests of their own.
    let of_lists = document.split("\n# Notes\n").next().unwrap();
    let shown: Vec<&str> = of_lists.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(shown, lines);
}

#[test]
fn without_scores_a_rescoring_is_no_record() {
    let rescored = change("a", 7, &[("b", 1, 1), ("c", 1, 1)], &[("b", 5, 2), ("c", 1, 1)]);
    for envelope in Envelope::ALL {
        assert_eq!(encoded(&rescored, &options(envelope, false)), "");
        assert_ne!(encoded(&rescored, &options(envelope, true)), "");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let upsert = br#"{"version":1,"item":"a","epoch":1,"recommendations":[{"item":"b"}],"changes":{}}"#;
    let pair = br#"{"version":1,"op":"enter","item":"a","other":"b","epoch":1,"rank":1}"#;
    let mut lists = Lists::new();
    lists.apply(None, Some(upsert)).unwrap();
    assert!(matches!(lists.apply(None, Some(pair)), Err(FoldError::Mixed { .. })));
    let deep = "[".repeat(100_000);
    for bad in [
        "",
        "{",
        "17",
        "{}",
        deep.as_str(),
        r#"{"version":2,"item":"a","epoch":1,"recommendations":[]}"#,
        r#"{"version":1,"item":"a","epoch":1,"recommendations":[{"item":"b","score":1e3,"count":1}]}"#,
        r#"{"version":1,"item":"a","epoch":1,"recommendations":[{"item":"b","score":[1],"count":1}]}"#,
        r#"{"version":1,"item":"a","epoch":-1,"recommendations":[]}"#,
        r#"{"version":1,"op":"enter","item":"a","other":"b","epoch":1}"#,
        r#"{"before":null,"after":null,"source":{"version":"1","epoch":1},"op":"u"}"#,
        r#"{"before":null,"after":null,"source":{"version":"x","epoch":1},"op":"u"}"#,
    ] {
        let mut lists = Lists::new();
        assert!(lists.apply(Some(b"a"), Some(bad.as_bytes())).is_err(), "{bad}");
        assert!(lists.is_empty());
    }
    assert!(lists.apply(Some(b"\xff"), None).is_err());
    assert!(lists.apply(None, None).is_err());
}

#[test]
fn a_tombstone_before_the_first_value_is_about_nothing() {
    let mut lists = Lists::new();
    assert_eq!(lists.apply(Some(b"not a pair"), None).unwrap(), None);
    lists
        .apply(None, Some(br#"{"version":1,"op":"enter","item":"a","other":"b","epoch":1,"rank":1}"#))
        .unwrap();
    assert_eq!(lists.len(), 1);
    assert_eq!(lists.apply(Some(br#"["a","b"]"#), None).unwrap(), Some("a".into()));
    assert!(lists.is_empty());
}

/// One list with hostile items in any order, no two the same.
fn list() -> impl Strategy<Value = List> {
    let entry =
        (0..ITEMS.len(), prop_oneof![0..2000_i64, any::<i64>()], prop_oneof![0..20_u32, any::<u32>()]);
    vec(entry, 0..8).prop_map(|entries| {
        let mut seen = BTreeSet::new();
        let entries = entries.into_iter().filter(|(item, ..)| seen.insert(*item));
        entries.map(|(item, score, count)| Neighbour { item: ITEMS[item].into(), score, count }).collect()
    })
}

/// A list that follows `before`: any list, or `before` with one entry rescored, removed or moved.
fn edited(before: &List, any: List, edit: (u8, usize, usize)) -> List {
    let mut after = before.clone();
    let (kind, at, to) = edit;
    match kind {
        _ if before.is_empty() => return any,
        0 => after[at % before.len()].score = to as i64,
        1 => drop(after.remove(at % before.len())),
        2 => after.swap(at % before.len(), to % before.len()),
        3 => return Vec::new(),
        _ => return any,
    }
    after
}

/// Changes as the dataflow emits them: each begins with the list that the previous one left.
fn schedule() -> impl Strategy<Value = Vec<ListChange>> {
    let step = (0..4_usize, list(), (0..8_u8, 0..8_usize, 0..8_usize));
    vec(step, 0..40).prop_map(|steps| {
        let mut lists = BTreeMap::<usize, List>::new();
        let mut changes = Vec::new();
        for (epoch, (item, any, edit)) in (0..).zip(steps) {
            let before = lists.entry(item).or_default();
            let after = edited(before, any, edit);
            if *before != after {
                let before = std::mem::replace(before, after.clone());
                changes.push(ListChange { item: ITEMS[item + 4].into(), epoch, before, after });
            }
        }
        changes
    })
}

/// The lists after all changes, as a reader should have them.
fn expected(changes: &[ListChange], options: &OutputOptions) -> BTreeMap<Name, Vec<Entry>> {
    let mut lists = BTreeMap::new();
    for change in changes {
        let entry = |(rank, neighbour): (u32, &Neighbour)| Entry {
            rank,
            item: neighbour.item.clone(),
            score: options.scores.then(|| Decimal::new(neighbour.score, options.score_digits)),
            count: options.scores.then_some(neighbour.count),
        };
        lists.insert(change.item.clone(), (1..).zip(&change.after).map(entry).collect());
    }
    lists.retain(|_, list: &mut Vec<Entry>| !list.is_empty());
    lists
}

fn entries(lists: &Lists) -> BTreeMap<Name, Vec<Entry>> {
    lists.iter().map(|(item, list)| (item.clone(), list.entries.clone())).collect()
}

fn any_options() -> impl Strategy<Value = OutputOptions> {
    (0..3_usize, any::<bool>(), 0..=Decimal::DIGITS_MAX).prop_map(|(envelope, scores, score_digits)| {
        OutputOptions { rows: RowKind::Item, envelope: Envelope::ALL[envelope], scores, score_digits }
    })
}

/// The schemas of an envelope's keys and values.
fn schemas(envelope: Envelope) -> (jsonschema::Validator, jsonschema::Validator) {
    let text = match envelope {
        Envelope::Upsert => include_str!("../../schemas/upsert.json"),
        Envelope::Changes => include_str!("../../schemas/changes.json"),
        Envelope::Debezium => include_str!("../../schemas/debezium.json"),
    };
    let value: Value = serde_json::from_str(text).unwrap();
    let mut key = serde_json::json!({ "$schema": value["$schema"], "$ref": "#/$defs/key" });
    key["$defs"] = value["$defs"].clone();
    assert!(jsonschema::meta::is_valid(&value) && jsonschema::meta::is_valid(&key));
    (jsonschema::validator_for(&key).unwrap(), jsonschema::validator_for(&value).unwrap())
}

#[test]
fn the_schemas_refuse_other_records() {
    for envelope in Envelope::ALL {
        let (key, value) = schemas(envelope);
        for options in [options(envelope, true), options(envelope, false)] {
            let mut records = Records::new();
            encode(&sample(), &options, &mut records);
            let record = records.iter().last().unwrap();
            let good: Value = serde_json::from_slice(record.value.unwrap()).unwrap();
            assert!(value.is_valid(&good));
            for field in good.as_object().unwrap().keys() {
                let mut bad = good.clone();
                bad.as_object_mut().unwrap().remove(field);
                assert!(!value.is_valid(&bad), "{envelope} without {field}");
            }
            let mut bad = good.clone();
            bad["surprise"] = Value::Null;
            assert!(!value.is_valid(&bad));
        }
        assert!(!key.is_valid(&Value::from("")));
        assert!(!key.is_valid(&serde_json::json!(["a"])));
    }
}

proptest! {
    /// A record of `changes` never repeats the previous record of its pair.
    #[test]
    fn pairs_are_told_of_when_something_of_them_is_new(changes in schedule(), scores in any::<bool>()) {
        let mut told = BTreeMap::<Vec<u8>, Value>::new();
        for change in changes {
            let mut records = Records::new();
            encode(&change, &options(Envelope::Changes, scores), &mut records);
            for (key, value) in records.iter().filter_map(|record| Some((record.key, record.value?))) {
                let mut value: Value = serde_json::from_slice(value).unwrap();
                value["op"] = Value::from(value["op"] == "leave");
                value["epoch"] = Value::Null;
                let before = told.insert(key.to_vec(), value.clone());
                prop_assert_ne!(before, Some(value));
            }
        }
    }

    #[test]
    fn records_match_the_schemas(changes in schedule()) {
        for envelope in Envelope::ALL {
            let (keys, values) = schemas(envelope);
            for scores in [true, false] {
                let mut records = Records::new();
                changes.iter().for_each(|change| encode(change, &options(envelope, scores), &mut records));
                for record in records.iter() {
                    let key = match envelope {
                        Envelope::Changes => serde_json::from_slice(record.key).unwrap(),
                        _ => Value::from(std::str::from_utf8(record.key).unwrap()),
                    };
                    prop_assert!(keys.is_valid(&key), "{key}");
                    for value in record.value.iter().chain(&record.line) {
                        let value: Value = serde_json::from_slice(value).unwrap();
                        prop_assert!(values.is_valid(&value), "{value}");
                    }
                }
            }
        }
    }

    #[test]
    fn records_add_up_to_the_lists(changes in schedule(), options in any_options()) {
        let mut records = Records::new();
        let (mut topic, mut file) = (Lists::new(), Lists::new());
        for change in &changes {
            let before = records.len();
            encode(change, &options, &mut records);
            if options.envelope == Envelope::Upsert {
                prop_assert!(records.len() - before <= 1);
            }
        }
        for record in records.iter() {
            topic.apply(Some(record.key), record.value).unwrap();
            if record.line.is_some() {
                file.apply(None, record.line).unwrap();
            }
        }
        let expected = expected(&changes, &options);
        prop_assert_eq!(&entries(&topic), &expected);
        prop_assert_eq!(&entries(&file), &expected);
    }

    /// The records that a compacted topic keeps are enough, in whatever order a reader receives the keys.
    #[test]
    fn the_last_record_of_each_key_adds_up_to_the_lists(
        changes in schedule(), options in any_options(), backwards: bool
    ) {
        let mut records = Records::new();
        changes.iter().for_each(|change| encode(change, &options, &mut records));
        let compacted: BTreeMap<&[u8], Option<&[u8]>> =
            records.iter().map(|record| (record.key, record.value)).collect();
        let mut lists = Lists::new();
        let mut kept: Vec<_> = compacted.into_iter().collect();
        if backwards {
            kept.reverse();
        }
        for (key, value) in kept {
            lists.apply(Some(key), value).unwrap();
        }
        prop_assert_eq!(entries(&lists), expected(&changes, &options));
    }

    #[test]
    fn envelopes_agree_on_the_canonical_form(changes in schedule(), scores: bool) {
        let canonical = Envelope::ALL.map(|envelope| {
            let mut records = Records::new();
            changes.iter().for_each(|change| encode(change, &options(envelope, scores), &mut records));
            let mut lists = Lists::new();
            records.iter().for_each(|record| drop(lists.apply(Some(record.key), record.value).unwrap()));
            let mut text = Vec::new();
            lists.write_canonical(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        prop_assert_eq!(&canonical[0], &canonical[1]);
        prop_assert_eq!(&canonical[0], &canonical[2]);
        for line in canonical[0].lines() {
            prop_assert!(serde_json::from_str::<Value>(line).is_ok());
        }
    }

    #[test]
    fn one_item_of_many(changes in schedule(), options in any_options()) {
        let item = Name::from(ITEMS[5]);
        let (mut all, mut one) = (Lists::new(), Lists::of_item(item.clone()));
        let mut records = Records::new();
        changes.iter().for_each(|change| encode(change, &options, &mut records));
        for record in records.iter() {
            let touched = all.apply(Some(record.key), record.value).unwrap();
            let expected = touched.filter(|touched| *touched == item);
            prop_assert_eq!(one.apply(Some(record.key), record.value).unwrap(), expected);
        }
        prop_assert_eq!(one.get(&item), all.get(&item));
        prop_assert!(one.len() <= 1);
    }
}

/// A list that moved to another partition is read once, whichever partition is read first.
#[test]
fn lists_that_moved_between_partitions() {
    let value = |epoch: u64, other: &str| {
        format!(r#"{{"version":1,"item":"a","epoch":{epoch},"recommendations":[{{"item":"{other}"}}]}}"#)
    };
    let (old, older, new) = (value(5, "old"), value(4, "older"), value(9, "new"));
    let left = [(0, Some(&older)), (0, Some(&old)), (0, None)];
    let arrived = [(3, Some(&new))];
    let orders: [Vec<(u32, Option<&String>)>; 4] = [
        left.iter().chain(&arrived).copied().collect(),
        arrived.iter().chain(&left).copied().collect(),
        vec![left[0], left[1], arrived[0], left[2]],
        vec![left[0], arrived[0], left[1], left[2]],
    ];
    for order in orders {
        let mut lists = Lists::new();
        for (partition, value) in &order {
            lists.apply_in(*partition, Some(b"a"), value.map(String::as_bytes)).unwrap();
        }
        let items: Vec<&str> = lists.get("a").unwrap().entries.iter().map(|entry| &*entry.item).collect();
        assert_eq!(items, ["new"], "{order:?}");
        lists.apply_in(3, Some(b"a"), None).unwrap();
        assert!(lists.is_empty());
    }
}
