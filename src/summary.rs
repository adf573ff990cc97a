//! The summary of a run: what it counted, as a line for people and as fields for programs.

use crate::plural::counted;
use deltacart_dataflows::NoteKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What can be counted. Counts of workers are added, except [`Counter::Epochs`], of which the largest is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Counter {
    /// Records read.
    Records,
    /// Records read of one of several inputs, by its number and its name.
    RecordsOf(u8, String),
    /// Events taken in. A record may carry several, or none.
    Events,
    /// Views that were ignored: of products where views are no evidence, and of carts.
    Views,
    /// Events of kinds that do not concern baskets, which are ignored.
    Others,
    /// Events of visitors who gave no consent. They are ignored, because no basket can be assigned to them.
    Anonymous,
    /// Events whose id was seen before.
    Duplicates,
    /// Purchases that repeat an order that was seen before.
    RepeatedOrders,
    /// Header records of files.
    Headers,
    /// Records that could not be used, by reason.
    Rejects(String),
    /// Lines and events that could not be used, by reason, of records that otherwise were.
    PartRejects(String),
    /// Lines and events that could not be used and have no dead letter of their own: their record had too many.
    LettersLeftOut,
    /// Fields that could not be read and were not needed, by kind.
    Flaws(String),
    /// Events that changed nothing.
    NoEffect,
    /// Baskets with events in several partitions.
    SplitBaskets,
    /// Lines that were evicted from full baskets.
    LinesEvicted,
    /// Baskets that expired because nothing had happened to them for too long.
    BasketsExpired,
    /// Items that are in more than `--max-item-baskets` baskets at the end. Their counts are estimates.
    ItemsSampled,
    /// Epochs that had records.
    Epochs,
    /// Lists whose changes were published.
    ListsChanged,
    /// Records written to the output.
    RecordsOut,
    /// Bytes written to the output.
    BytesOut,
    /// Items that came into sampled carts, and were looked up in the answer that the cart had.
    Predictions,
    /// Those of them that were among so many first items of the answer.
    Hits(u32),
    /// Comparisons with a computation from scratch. All of them agreed.
    Verified,
}

/// The ranks up to which hits of predictions are counted.
pub const HITS_AT: [u32; 4] = [1, 5, 10, 20];

impl Counter {
    /// The counter of a note.
    pub fn of(note: NoteKind) -> Counter {
        match note {
            NoteKind::NoEffect => Counter::NoEffect,
            NoteKind::SplitBasket => Counter::SplitBaskets,
            NoteKind::LineEvicted => Counter::LinesEvicted,
            NoteKind::BasketExpired => Counter::BasketsExpired,
        }
    }
}

/// The counts of one worker, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Counter, u64>);

impl Tally {
    /// Adds `count` to a counter; of epochs, keeps the larger count.
    pub fn add(&mut self, counter: Counter, count: u64) {
        match counter {
            Counter::Epochs => {
                let epochs = self.0.entry(counter).or_default();
                *epochs = count.max(*epochs);
            }
            // Kept even if zero: an input without records is worth reporting.
            Counter::RecordsOf(..) => *self.0.entry(counter).or_default() += count,
            _ if count > 0 => *self.0.entry(counter).or_default() += count,
            _ => {}
        }
    }

    /// The value of a counter; 0 if nothing was counted.
    pub fn get(&self, counter: &Counter) -> u64 {
        self.0.get(counter).copied().unwrap_or(0)
    }

    /// All counters with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Counter, u64)> {
        self.0.iter().map(|(counter, &count)| (counter, count))
    }

    /// The records read of each input, by its name, if there are several inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(counter, &count)| match counter {
            Counter::RecordsOf(_, name) => Some((name.as_str(), count)),
            _ => None,
        })
    }

    /// The rejected records, by reason.
    pub fn rejects(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(counter, &count)| match counter {
            Counter::Rejects(reason) => Some((reason.as_str(), count)),
            _ => None,
        })
    }

    /// The rejected lines and events of records that were used in part, by reason.
    pub fn part_rejects(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(counter, &count)| match counter {
            Counter::PartRejects(reason) => Some((reason.as_str(), count)),
            _ => None,
        })
    }

    /// The flaws of fields, by kind.
    pub fn flaws(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(counter, &count)| match counter {
            Counter::Flaws(flaw) => Some((flaw.as_str(), count)),
            _ => None,
        })
    }
}

/// What a whole run counted, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The counts.
    pub tally: Tally,
    /// The duration of the run.
    pub elapsed: Duration,
}

/// The counters that the line for people leaves out if they are zero: counter, field name, and noun.
const COUNTED_IF_ANY: [(Counter, &str, &str); 14] = [
    (Counter::Views, "views", "view(s)"),
    (Counter::Others, "others", "other(s)"),
    (Counter::Anonymous, "anonymous", "anonymous"),
    (Counter::Duplicates, "duplicates", "duplicate(s)"),
    (Counter::RepeatedOrders, "repeated_orders", "repeated order(s)"),
    (Counter::Headers, "headers", "header(s)"),
    (Counter::LettersLeftOut, "letters_left_out", "dead letter(s) left out"),
    (Counter::NoEffect, "no_effect", "without effect"),
    (Counter::SplitBaskets, "split_baskets", "basket(s) over several partitions"),
    (Counter::LinesEvicted, "lines_evicted", "line(s) evicted from full baskets"),
    (Counter::BasketsExpired, "baskets_expired", "idle basket(s) forgotten"),
    (Counter::ItemsSampled, "items_sampled", "item(s) sampled at the end"),
    (Counter::Predictions, "predictions", "prediction(s)"),
    (Counter::Hits(10), "hits_at_10", "of them among the first 10"),
];

impl Summary {
    fn count(&self, counter: Counter) -> u64 {
        self.tally.get(&counter)
    }

    /// Whether records were read and rejected, and none was used.
    pub fn is_unusable(&self) -> bool {
        use Counter::{Anonymous, Duplicates, Events, Others, RepeatedOrders, Views};
        let used = [Events, Views, Others, Anonymous, Duplicates, RepeatedOrders];
        self.tally.rejects().count() > 0 && used.into_iter().all(|counter| self.count(counter) == 0)
    }

    /// Every count under its field name, for programs. Zero counts are included.
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let always = [
            (Counter::Records, "records"),
            (Counter::Events, "events"),
            (Counter::Epochs, "epochs"),
            (Counter::ListsChanged, "lists_changed"),
            (Counter::RecordsOut, "records_out"),
            (Counter::BytesOut, "bytes_out"),
            (Counter::Verified, "verified"),
        ];
        let counted_if_any = COUNTED_IF_ANY.into_iter().map(|(counter, name, _noun)| (counter, name));
        for (counter, name) in always.into_iter().chain(counted_if_any) {
            fields.insert(name.to_owned(), self.count(counter).into());
        }
        fields.insert("inputs".to_owned(), by_name(self.tally.inputs()));
        fields.insert("rejects".to_owned(), by_name(self.tally.rejects()));
        fields.insert("rejected_lines".to_owned(), by_name(self.tally.part_rejects()));
        fields.insert("unreadable_fields".to_owned(), by_name(self.tally.flaws()));
        fields.insert("seconds".to_owned(), self.elapsed.as_secs_f64().into());
        fields
    }
}

/// Counts by name, as a JSON object.
fn by_name<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Value {
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect())
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |counter, noun| counted(self.count(counter), noun);
        write!(
            formatter,
            "{} of {}",
            counted(Counter::Events, "event(s)"),
            counted(Counter::Records, "record(s)")
        )?;
        let inputs: Vec<_> = self.tally.inputs().map(|(name, count)| format!("{count} of {name}")).collect();
        if !inputs.is_empty() {
            write!(formatter, " ({})", inputs.join(", "))?;
        }
        for (counter, _name, noun) in COUNTED_IF_ANY {
            if self.count(counter.clone()) > 0 {
                write!(formatter, ", {}", counted(counter, noun))?;
            }
        }
        let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_name, count)| count).sum::<u64>();
        let rejects: Vec<_> = self.tally.rejects().collect();
        write!(formatter, ", {}", crate::plural::counted(sum(&rejects), "reject(s)"))?;
        write_by_name(formatter, rejects.into_iter())?;
        let parts: Vec<_> = self.tally.part_rejects().collect();
        let flaws: Vec<_> = self.tally.flaws().collect();
        for (noun, counts) in [("rejected line(s)", parts), ("unreadable field(s)", flaws)] {
            if !counts.is_empty() {
                write!(formatter, ", {}", crate::plural::counted(sum(&counts), noun))?;
                write_by_name(formatter, counts.into_iter())?;
            }
        }
        write!(
            formatter,
            ", {}, {} in {} of {}",
            counted(Counter::Epochs, "epoch(s)"),
            counted(Counter::ListsChanged, "list(s) changed"),
            counted(Counter::RecordsOut, "record(s)"),
            counted(Counter::BytesOut, "byte(s)")
        )?;
        if self.count(Counter::Verified) > 0 {
            write!(formatter, ", verified {}", counted(Counter::Verified, "time(s)"))?;
        }
        write!(formatter, ", {:.2} s", self.elapsed.as_secs_f64())
    }
}

/// Writes counts by name in brackets, if there are any.
fn write_by_name<'a>(
    formatter: &mut fmt::Formatter<'_>,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let counts: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    if counts.is_empty() { Ok(()) } else { write!(formatter, " ({})", counts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        let mut tally = Tally::default();
        for (counter, count) in [
            (Counter::Records, 10),
            (Counter::Events, 7),
            (Counter::Rejects("bad-json".into()), 2),
            (Counter::Rejects("empty".into()), 1),
            (Counter::PartRejects("missing-item".into()), 4),
            (Counter::Flaws("unreadable-time".into()), 6),
            (Counter::Flaws("unreadable-user".into()), 1),
            (Counter::Epochs, 3),
            (Counter::Epochs, 2),
            (Counter::ListsChanged, 5),
            (Counter::Views, 0),
        ] {
            tally.add(counter, count);
        }
        let summary = Summary { tally, elapsed: Duration::from_millis(1500) };
        assert_eq!(
            summary.to_string(),
            "7 events of 10 records, 3 rejects (bad-json 2, empty 1), 4 rejected lines (missing-item 4), 7 unreadable fields (unreadable-time 6, unreadable-user 1), 3 epochs, 5 lists changed in 0 records of 0 bytes, 1.50 s"
        );
        let fields = Value::Object(summary.fields());
        assert_eq!(
            (&fields["events"], &fields["views"], &fields["seconds"]),
            (&7.into(), &0.into(), &1.5.into())
        );
        assert_eq!(fields["rejects"], serde_json::json!({"bad-json": 2, "empty": 1}));
        let mut tally = summary.tally;
        for (number, name, count) in [(0, "kafka:carts", 6), (1, "files", 0), (0, "kafka:carts", 4)] {
            tally.add(Counter::RecordsOf(number, name.to_owned()), count);
        }
        let summary = Summary { tally, ..summary }.to_string();
        let beginning = "7 events of 10 records (10 of kafka:carts, 0 of files), 3 rejects";
        assert!(summary.starts_with(beginning), "{summary}");
    }

    #[test]
    fn one_of_each() {
        let mut tally = Tally::default();
        for (counter, _name, _noun) in COUNTED_IF_ANY {
            tally.add(counter, 1);
        }
        for counter in [Counter::Records, Counter::Events, Counter::Epochs, Counter::Rejects("empty".into())]
        {
            tally.add(counter, 1);
        }
        for counter in [Counter::ListsChanged, Counter::RecordsOut, Counter::BytesOut, Counter::Verified] {
            tally.add(counter, 1);
        }
        let summary = Summary { tally, elapsed: Duration::ZERO }.to_string();
        assert!(summary.starts_with("1 event of 1 record, 1 view, 1 other, 1 anonymous, "), "{summary}");
        assert!(summary.contains(", 1 without effect, 1 basket over several partitions, "), "{summary}");
        assert!(
            summary.ends_with("1 epoch, 1 list changed in 1 record of 1 byte, verified 1 time, 0.00 s"),
            "{summary}"
        );
    }
}
