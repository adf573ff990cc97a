//! The log: all events of the input in the order of time, with small numbers in place of ids.

use crate::plural::counted;
use crate::streams::{Input, Streams, partition};
use anyhow::{Result, bail, ensure};
use deltacart_dataflows::{Action, Event, Millis, Name, Position};
use deltacart_inputs::file::{FileParams, FileProgress, FileSource};
use deltacart_inputs::registry::Readiness;
use deltacart_inputs::{Defects, RawRecord, Share, Source};
use serde::Serialize;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;

/// The number of an item, a basket or a user in a [`Log`].
pub type Id = u32;

/// The names of items, of baskets or of users, and their numbers: 0, 1, 2 … in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    names: Vec<Name>,
    numbers: HashMap<Name, Id>,
}

impl Ids {
    /// The number of a name, which is a new one if the name is.
    pub fn number(&mut self, name: &Name) -> Id {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as Id;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The number of a name, if it has one.
    pub fn find(&self, name: &Name) -> Option<Id> {
        self.numbers.get(name).copied()
    }

    /// The name of a number that [`Ids::number`] returned.
    pub fn name(&self, number: Id) -> &Name {
        &self.names[number as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened. An event without a time has that of the event before it.
    pub time: Millis,
    /// The basket. Of no meaning for [`Action::ForgetUser`].
    pub basket: Id,
    /// The user, if the event names one.
    pub user: Option<Id>,
    /// What happened.
    pub action: Action<Id>,
}

/// The item that an action may put into a basket.
pub fn held_line(action: &Action<Id>) -> Option<Id> {
    match action {
        Action::Add(item, quantity) | Action::Set(item, quantity) | Action::Purchase(item, quantity) => {
            (*quantity > 0).then_some(*item)
        }
        Action::Restore(item, _line) => Some(*item),
        _ => None,
    }
}

/// How much of the input could be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadCounts {
    /// Records of the files.
    pub records: u64,
    /// Events of the records.
    pub events: u64,
    /// Records that could not be used.
    pub rejected: u64,
    /// The reason of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_reject: Option<String>,
    /// Parts of other records that could not be used.
    pub rejected_parts: u64,
    /// Events whose action puts nothing into a basket and takes nothing out, such as views.
    pub others: u64,
}

/// All events, sorted by time, ties in the order of the input.
#[derive(Debug, Default)]
pub struct Log {
    /// The events.
    pub entries: Vec<Entry>,
    /// The ids of items.
    pub items: Ids,
    /// The ids of baskets.
    pub baskets: Ids,
    /// The ids of users.
    pub users: Ids,
    /// Whether events have times.
    pub has_times: bool,
    /// What was read.
    pub read: ReadCounts,
}

/// How many lines and events a record lost.
fn parts(defects: &Defects) -> u64 {
    defects.parts.len() as u64 + defects.more.values().map(|&more| u64::from(more)).sum::<u64>()
}

/// The most records of one fetch.
const BATCH_RECORDS: usize = 4096;

/// How long to wait for the writer of a pipe before the next look.
const PIPE_PATIENCE: Duration = Duration::from_millis(10);

impl Log {
    /// Reads the files of `streams` to their ends.
    ///
    /// # Errors
    /// If a stream is a topic, a file cannot be read, or no event of the input can be used.
    pub fn read(streams: &Streams, progress: &FileProgress) -> Result<Log> {
        let mut log = Log::default();
        for (number, stream) in streams.iter() {
            let Input::Files(paths) = &stream.input else {
                bail!(
                    "--input {} cannot be evaluated: name files, such as an export of the topic",
                    stream.name()
                )
            };
            let mut decoder = stream.decode.decoder()?;
            let params = FileParams {
                framing: stream.decode.framing(),
                tables: stream.decode.tables(),
                record_bytes_max: stream.decode.limits.record_bytes_max,
                share: Share::WHOLE,
                progress: progress.clone(),
            };
            let mut source = FileSource::new(paths, params)?;
            let mut events = Vec::new();
            for file in source.partitions()? {
                let place = partition(number, file)?;
                loop {
                    let mut failed = None;
                    let fetched = source.fetch(file, BATCH_RECORDS, &mut |record: RawRecord<'_>| {
                        log.read.records += 1;
                        match decoder.prepare(&record) {
                            Ok(Readiness::Ready) => {}
                            Ok(Readiness::Waiting) => {
                                unreachable!("a record of a file has no schema to wait for")
                            }
                            Err(error) => failed = Some(error),
                        }
                        match decoder.decode(&record, &mut events) {
                            Ok(decoded) => {
                                log.read.others += u64::from(decoded.views) + u64::from(decoded.others);
                                log.read.rejected_parts +=
                                    decoded.defects.map_or(0, |defects| parts(&defects));
                            }
                            Err(reject) => {
                                log.reject(&format!("{}: {}", reject.reason.name(), reject.detail))
                            }
                        }
                        for event in events.drain(..) {
                            let position = Position { partition: place, ..event.position };
                            log.push(&Event { position, ..event });
                        }
                    })?;
                    if let Some(error) = failed {
                        return Err(error.into());
                    }
                    if fetched.ended {
                        break;
                    }
                    if fetched.records == 0 && fetched.at_end {
                        thread::sleep(PIPE_PATIENCE);
                    }
                }
            }
        }
        log.end()?;
        Ok(log)
    }

    /// The log of `events`, in their order.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Log> {
        let mut log = Log::default();
        events.into_iter().for_each(|event| log.push(event));
        log.end()?;
        Ok(log)
    }

    fn reject(&mut self, reason: &str) {
        self.read.rejected += 1;
        self.read.first_reject.get_or_insert_with(|| reason.to_owned());
    }

    fn push(&mut self, event: &Event) {
        self.read.events += 1;
        self.has_times |= event.time > 0;
        let time = match event.time {
            0 => self.entries.last().map_or(0, |entry| entry.time),
            time => time,
        };
        let Log { items, baskets, users, .. } = self;
        let action = event.action.clone().map_item(|item| items.number(&item));
        let user = event.user.as_ref().map(|user| users.number(user));
        let basket = baskets.number(&event.basket);
        self.entries.push(Entry { time, basket, user, action });
    }

    /// Sorts what was read.
    fn end(&mut self) -> Result<()> {
        let ReadCounts { records, first_reject, .. } = &self.read;
        let why =
            first_reject.as_ref().map_or(String::new(), |why| format!(": the first was rejected as {why}"));
        let records = counted(*records, "record(s)");
        ensure!(!self.entries.is_empty(), "nothing can be evaluated: no event was found in {records}{why}");
        let adds = self.entries.iter().any(|entry| held_line(&entry.action).is_some());
        ensure!(adds, "nothing can be evaluated: no event puts an item into a basket");
        self.entries.sort_by_key(|entry| entry.time);
        Ok(())
    }

    /// Some of the events, by their places, rising. Numbers stay what they are.
    pub fn part(&self, places: &[u32]) -> Log {
        Log {
            entries: places.iter().map(|&place| self.entries[place as usize].clone()).collect(),
            items: self.items.clone(),
            baskets: self.baskets.clone(),
            users: self.users.clone(),
            has_times: self.has_times,
            read: self.read.clone(),
        }
    }

    /// The event at `index`, as the dataflow takes it. Its place in the log is its position.
    pub fn event(&self, index: usize) -> Event {
        let Entry { time, basket, user, action } = &self.entries[index];
        Event {
            position: Position { offset: index as u64, ..Position::default() },
            basket: self.baskets.name(*basket).clone(),
            user: user.map(|user| self.users.name(user).clone()),
            time: *time,
            action: action.clone().map_item(|item| self.items.name(item).clone()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event that adds one unit.
    pub(crate) fn add(time: Millis, basket: &str, user: &str, item: &str) -> Event {
        let user = (!user.is_empty()).then(|| user.into());
        Event {
            position: Position::default(),
            basket: basket.into(),
            user,
            time,
            action: Action::Add(item.into(), 1),
        }
    }

    #[test]
    fn events_are_sorted_by_time_and_ties_by_place() {
        let log =
            Log::of_events(&[add(5, "b", "", "x"), add(3, "a", "u", "y"), add(5, "c", "", "z")]).unwrap();
        let baskets: Vec<&str> =
            log.entries.iter().map(|entry| log.baskets.name(entry.basket).as_str()).collect();
        assert_eq!(baskets, ["a", "b", "c"]);
        assert!(log.has_times);
        let event = log.event(0);
        assert_eq!((event.basket.as_str(), event.user.as_deref(), event.time), ("a", Some("u"), 3));
        assert_eq!(event.action, Action::Add("y".into(), 1));
    }

    /// An event without a time stays behind the one before it.
    #[test]
    fn unknown_times_are_those_of_the_event_before() {
        let log =
            Log::of_events(&[add(5, "a", "", "x"), add(0, "b", "", "x"), add(4, "c", "", "x")]).unwrap();
        let times: Vec<(Millis, &str)> =
            log.entries.iter().map(|entry| (entry.time, log.baskets.name(entry.basket).as_str())).collect();
        assert_eq!(times, [(4, "c"), (5, "a"), (5, "b")]);
    }

    #[test]
    fn an_input_without_adds_is_refused() {
        assert!(Log::of_events(&[]).unwrap_err().to_string().contains("no event was found in 0 records"));
        let clear = Event { action: Action::Clear, ..add(1, "a", "", "x") };
        assert!(Log::of_events(&[clear]).unwrap_err().to_string().contains("no event puts an item"));
    }
}
