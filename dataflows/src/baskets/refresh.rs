//! When open subjects are answered again though they did not change (`--refresh`), by the times of events.
//!
//! ```text
//! newest time of all partitions   0:00  0:10  0:25  0:31  0:40  1:02
//! every 30 s                                       ▲           ▲
//! ```
//!
//! Every worker sees the times of all partitions, so all workers refresh at the same epochs. It is a function of the
//! events and the epochs that they are in, like all else.

use crate::Millis;
use std::num::NonZeroU64;

/// Says at the end of each epoch whether it is time.
pub(super) struct Refresh {
    /// The time from one refresh to the next. `None`: at every epoch.
    every: Option<NonZeroU64>,
    /// The largest time of all events so far.
    newest: Millis,
    /// The largest time when subjects were refreshed last.
    last: Millis,
}

impl Refresh {
    /// A refresh after so many milliseconds, or at every epoch.
    pub(super) fn new(every: Option<NonZeroU64>) -> Refresh {
        Refresh { every, newest: 0, last: 0 }
    }

    /// Takes the time of an event.
    pub(super) fn advance(&mut self, time: Millis) {
        self.newest = self.newest.max(time);
    }

    /// Ends an epoch. Returns whether open subjects are answered again.
    pub(super) fn end_epoch(&mut self) -> bool {
        let is_due = self.every.is_none_or(|every| self.newest - self.last >= every.get());
        if is_due {
            self.last = self.newest;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_by_with_the_events() {
        let mut refresh = Refresh::new(NonZeroU64::new(30));
        let due = [100, 110, 129, 131, 120, 160, 161, 161].map(|time| {
            refresh.advance(time);
            refresh.end_epoch()
        });
        assert_eq!(due, [true, false, false, true, false, false, true, false]);
        let mut always = Refresh::new(None);
        assert!(always.end_epoch() && always.end_epoch());
    }
}
