//! Fuzz target: an output topic with any content. See `crate::fuzz`.

use super::consumer_state::{ConsumerState, Correction, read_consumer_record};
use super::encode::UNSCORED;
use super::{Decimal, Entry, Envelope, Lists, OutputOptions, Records, RowKind};
use deltacart_dataflows::{List, Name, Neighbour};
use std::collections::HashMap;

/// One record per line: a value; a key and a value with a tab between them; or a tab and the key of a tombstone.
fn records(data: &[u8]) -> impl Iterator<Item = (Option<&[u8]>, Option<&[u8]>)> {
    data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        match line.iter().position(|&byte| byte == b'\t') {
            Some(0) => (Some(&line[1..]), None),
            Some(at) => (Some(&line[..at]), Some(&line[at + 1..])),
            None => (None, Some(line)),
        }
    })
}

/// Applies records to [`Lists`] and to [`ConsumerState`], as far as both accept them, and checks the corrections of
/// the result.
pub(crate) fn fold(data: &[u8]) {
    let (mut lists, mut consumer_state) = (Lists::new(), ConsumerState::default());
    let mut read = Vec::new();
    for (key, value) in records(data) {
        let folded = lists.apply(key, value);
        let record = read_consumer_record(0, key, value);
        // A job or a reader that starts on such a topic ends with an error.
        let (Ok(_), Ok((record, _))) = (folded, record) else { return };
        consumer_state.apply(record, None);
        read.push((key, value));
    }
    check(&lists);
    for (item, list) in lists.iter().take(2) {
        let mut only = Lists::of_item(item.clone());
        let all_read = read.iter().all(|&(key, value)| only.apply(key, value).is_ok());
        assert!(all_read && only.len() == 1 && only.get(item) == Some(list), "{item}");
    }
    let Some(envelope) = lists.envelope() else { return };
    // The key of a pair can be written as JSON in several ways. A topic takes them for several keys, a reader for
    // one.
    if envelope == Envelope::Changes && read.iter().any(|(_, value)| value.is_none()) {
        return;
    }
    correct(lists, consumer_state, envelope);
}

fn check(lists: &Lists) {
    for (item, list) in lists.iter() {
        assert!(!list.entries.is_empty(), "{item} has a list without entries");
        assert!(list.entries.is_sorted_by_key(|entry| (entry.rank, entry.item.clone())), "{item}");
    }
    let mut out = Vec::new();
    lists.write_canonical(&mut out).expect("a vector takes everything");
    let lines = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let are_json = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).is_ok());
    assert_eq!(are_json.collect::<Vec<_>>(), vec![true; lists.len()]);
}

fn neighbour(entry: &Entry) -> Neighbour {
    let score = entry.score.map_or(UNSCORED, Decimal::units);
    Neighbour { item: entry.item.clone(), score, count: entry.count.unwrap_or(0) }
}

const READ: &str = "what was read whole can be read again";

/// A correction of the consumer state to itself is empty. A correction to no lists leaves no lists.
fn correct(mut lists: Lists, consumer_state: ConsumerState, envelope: Envelope) {
    let options =
        OutputOptions { rows: RowKind::Item, envelope, scores: true, score_digits: Decimal::DIGITS_MAX };
    let is_torn = lists.iter().any(|(_, list)| (1..).zip(&list.entries).any(|(rank, it)| rank != it.rank));
    let computed: HashMap<Name, List> = lists
        .iter()
        .map(|(item, list)| (item.clone(), list.entries.iter().map(neighbour).collect()))
        .collect();
    let mut records = Records::new();
    if !is_torn {
        let mut none = Correction::new(consumer_state.clone(), computed, 1, &options).expect(READ);
        while none.encode_next(&mut records).is_some() {}
        let first = records.front();
        assert!(first.is_none(), "what is held is corrected: {first:?}");
    }
    let mut all = Correction::new(consumer_state, HashMap::new(), 1, &options).expect(READ);
    while all.encode_next(&mut records).is_some() {}
    for record in records.iter() {
        lists.apply(Some(record.key), record.value).expect("what is written can be read");
    }
    assert!(lists.is_empty(), "what is taken away is still there: {lists:?}");
}
