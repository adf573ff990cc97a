//! Records in one buffer, waiting to be sent: filled by the encoder at the back, taken by a sink at the front.
//!
//! Keys and values lie one behind the other in one growing buffer, so a record costs no allocation. When the last
//! one has been taken the buffer starts anew; until then it only grows, so whoever fills it looks at
//! [`Records::bytes`].

use super::difference::Difference;

/// What a buffer keeps for the next epoch when it is empty; one large epoch must not hold its memory for ever.
const RETAINED_BYTES: usize = 8 << 20;

/// Encoded records that have not been sent yet, in order.
#[derive(Debug, Default)]
pub struct Records {
    /// Keys and values; those before `start` have been taken.
    pub(super) bytes: Vec<u8>,
    /// One for each record, also of those before `first`, which have been taken.
    pub(super) spans: Vec<Span>,
    first: usize,
    start: usize,
    /// The encoder's scratch.
    pub(super) difference: Difference,
}

/// Where one record lies: its key begins where the record before ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) key_end: usize,
    pub(super) end: usize,
    pub(super) form: Form,
    /// Nothing more is said about the list in this epoch.
    pub(super) is_last: bool,
}

/// What of a record is to be seen where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The value is both a topic's value and a file's line.
    Value,
    /// A tombstone in a topic; a file, which has none, shows the value as a line.
    Emptied,
    /// A tombstone in a topic, and nothing in a file, where the line before has said it.
    Tombstone,
    /// A tombstone in this partition of a topic, where the key does not belong; nothing in a file.
    StrayTombstone(u32),
}

/// One record, borrowed from its [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key in a topic.
    pub key: &'a [u8],
    /// The partition, if it is another one than that of the key.
    pub partition: Option<u32>,
    /// The value in a topic; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The line in a file, without its end; `None` if a file has no line for it.
    pub line: Option<&'a [u8]>,
    /// Nothing more is said about the list in this epoch: here the records may be parted.
    pub is_last: bool,
}

impl Records {
    /// An empty buffer.
    pub fn new() -> Self {
        Records::default()
    }

    /// How many records are left.
    pub fn len(&self) -> usize {
        self.spans.len() - self.first
    }

    /// Whether no record is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the records that are left have.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The first record that is left.
    pub fn front(&self) -> Option<Record<'_>> {
        self.spans.get(self.first).map(|span| self.record(self.start, *span))
    }

    /// Takes the first record that is left away.
    pub fn pop(&mut self) {
        if let Some(span) = self.spans.get(self.first) {
            self.start = span.end;
            self.first += 1;
            if self.is_empty() {
                self.clear();
            }
        }
    }

    /// The records that are left, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.spans[self.first..].iter().scan(self.start, |start, span| {
            let record = self.record(*start, *span);
            *start = span.end;
            Some(record)
        })
    }

    /// Appends a tombstone: in a topic `key` is to be forgotten.
    pub(crate) fn push_tombstone(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.spans.push(Span { key_end: end, end, form: Form::Tombstone, is_last: true });
    }

    /// Appends a tombstone for a partition where `key` was, and does not belong any more. More is said about its list:
    /// [`Records::end_list`] comes after it.
    pub(crate) fn push_stray_tombstone(&mut self, key: &[u8], partition: u32) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.spans.push(Span { key_end: end, end, form: Form::StrayTombstone(partition), is_last: false });
    }

    /// Says that the last record is the last about its list in this epoch.
    pub(crate) fn end_list(&mut self) {
        if let Some(last) = self.spans.last_mut() {
            last.is_last = true;
        }
    }

    /// Takes all records away.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RETAINED_BYTES);
        self.spans.clear();
        self.spans.shrink_to(RETAINED_BYTES / size_of::<Span>());
        (self.first, self.start) = (0, 0);
    }

    fn record(&self, start: usize, span: Span) -> Record<'_> {
        let key = &self.bytes[start..span.key_end];
        let body = &self.bytes[span.key_end..span.end];
        let (value, line) = match span.form {
            Form::Value => (Some(body), Some(body)),
            Form::Emptied => (None, Some(body)),
            Form::Tombstone | Form::StrayTombstone(_) => (None, None),
        };
        let partition = match span.form {
            Form::StrayTombstone(partition) => Some(partition),
            Form::Value | Form::Emptied | Form::Tombstone => None,
        };
        Record { key, partition, value, line, is_last: span.is_last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(records: &mut Records, key: &[u8], body: &[u8], form: Form) {
        records.bytes.extend_from_slice(key);
        let key_end = records.bytes.len();
        records.bytes.extend_from_slice(body);
        records.spans.push(Span { key_end, end: records.bytes.len(), form, is_last: true });
    }

    #[test]
    fn taken_in_order_and_filled_behind() {
        let mut records = Records::new();
        assert_eq!(records.front(), None);
        records.pop();
        push(&mut records, b"a", b"1", Form::Value);
        push(&mut records, b"b", b"2", Form::Emptied);
        assert_eq!((records.len(), records.bytes()), (2, 4));
        records.pop();
        push(&mut records, b"c", b"", Form::Tombstone);
        let left: Vec<Record<'_>> = records.iter().collect();
        assert_eq!(
            left,
            [
                Record { key: b"b", partition: None, value: None, line: Some(b"2"), is_last: true },
                Record { key: b"c", partition: None, value: None, line: None, is_last: true },
            ]
        );
        assert_eq!(records.front(), Some(left[0]));
        records.pop();
        records.pop();
        assert!(records.is_empty());
        assert_eq!((records.bytes(), records.bytes.len()), (0, 0));
    }
}
