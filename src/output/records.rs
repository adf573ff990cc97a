//! A queue of encoded records in one buffer: the encoder appends at the back, a sink removes from the front.
//!
//! Keys and values are stored back to back, so a record costs no allocation. The buffer is reset when the last record
//! has been removed. Until then it only grows, so the encoder's caller watches [`Records::bytes`].

use super::difference::Difference;

/// The capacity, in bytes, that an empty buffer keeps for the next epoch. One large epoch must not hold its memory
/// for ever.
const RETAINED_BYTES: usize = 8 << 20;

/// Encoded records that have not been sent yet, in order.
#[derive(Debug, Default)]
pub struct Records {
    /// Keys and values. Those before `start` have been removed.
    pub(super) bytes: Vec<u8>,
    /// One span for each record. Those before `first` have been removed.
    pub(super) spans: Vec<Span>,
    first: usize,
    start: usize,
    /// Scratch memory of the encoder.
    pub(super) difference: Difference,
}

/// The position of one record in the buffer. Its key begins where the previous record ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) key_end: usize,
    pub(super) end: usize,
    pub(super) form: Form,
    /// Whether this is the last record of its list in this epoch.
    pub(super) is_last: bool,
}

/// How a record appears in a topic and in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes are the value in a topic and the line in a file.
    Value,
    /// A tombstone in a topic. A file has no tombstones: there the bytes are the line.
    Emptied,
    /// A tombstone in a topic. Nothing in a file, where the line before it has reported the removal.
    Tombstone,
    /// A tombstone in this partition of a topic, to which the key no longer belongs. Nothing in a file.
    StrayTombstone(u32),
}

/// One record, borrowed from [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key in a topic.
    pub key: &'a [u8],
    /// The partition, if it is not the one that the key belongs to.
    pub partition: Option<u32>,
    /// The value in a topic. `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The line in a file, without its line break. `None` if the record has no line.
    pub line: Option<&'a [u8]>,
    /// Whether this is the last record of its list in this epoch. A transaction may end after it.
    pub is_last: bool,
}

impl Records {
    /// An empty buffer.
    pub fn new() -> Self {
        Records::default()
    }

    /// The number of remaining records.
    pub fn len(&self) -> usize {
        self.spans.len() - self.first
    }

    /// Whether no record remains.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the remaining records, in bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The first remaining record.
    pub fn front(&self) -> Option<Record<'_>> {
        self.spans.get(self.first).map(|span| self.record(self.start, *span))
    }

    /// Removes the first remaining record.
    pub fn pop(&mut self) {
        if let Some(span) = self.spans.get(self.first) {
            self.start = span.end;
            self.first += 1;
            if self.is_empty() {
                self.clear();
            }
        }
    }

    /// The remaining records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.spans[self.first..].iter().scan(self.start, |start, span| {
            let record = self.record(*start, *span);
            *start = span.end;
            Some(record)
        })
    }

    /// Appends a record of a key and a value.
    pub(crate) fn push_value(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { key_end, end: self.bytes.len(), form: Form::Value, is_last: true });
    }

    /// Appends a tombstone: a topic deletes `key`.
    pub(crate) fn push_tombstone(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.spans.push(Span { key_end: end, end, form: Form::Tombstone, is_last: true });
    }

    /// Appends a tombstone for a partition that holds `key`, but to which the key no longer belongs. It does not end
    /// its list: a call of [`Records::end_list`] must follow.
    pub(crate) fn push_stray_tombstone(&mut self, key: &[u8], partition: u32) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.spans.push(Span { key_end: end, end, form: Form::StrayTombstone(partition), is_last: false });
    }

    /// Marks the last record as the last one of its list in this epoch.
    pub(crate) fn end_list(&mut self) {
        if let Some(last) = self.spans.last_mut() {
            last.is_last = true;
        }
    }

    /// Removes all records.
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
