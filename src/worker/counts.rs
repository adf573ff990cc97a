//! Counts of one batch of records, by kind.

use crate::summary::{Counter, Tally};
use crate::unusable::Uses;
use deltacart_inputs::Decoded;

/// The counts of one batch. They are kept apart from the [`Tally`], which looks a counter up for every addition.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) events: u64,
    views: u64,
    others: u64,
    anonymous: u64,
    duplicates: u64,
    repeated_orders: u64,
    headers: u64,
    pub(super) rejects: u64,
}

impl Counts {
    /// The batch's records and events by their use.
    pub(super) fn uses(self) -> Uses {
        let useful = self.events + self.views + self.anonymous + self.duplicates + self.repeated_orders;
        Uses { rejected: self.rejects, useful, others: self.others }
    }

    pub(super) fn add(&mut self, decoded: &Decoded) {
        let &Decoded { events, views, others, anonymous, duplicates, repeated_orders, header, defects: _ } =
            decoded;
        self.events += u64::from(events);
        self.views += u64::from(views);
        self.others += u64::from(others);
        self.anonymous += u64::from(anonymous);
        self.duplicates += u64::from(duplicates);
        self.repeated_orders += u64::from(repeated_orders);
        self.headers += u64::from(header);
    }

    pub(super) fn add_to(self, tally: &mut Tally) {
        let Counts {
            records,
            events,
            views,
            others,
            anonymous,
            duplicates,
            repeated_orders,
            headers,
            rejects: _,
        } = self;
        tally.add(Counter::Records, records);
        tally.add(Counter::Events, events);
        tally.add(Counter::Views, views);
        tally.add(Counter::Others, others);
        tally.add(Counter::Anonymous, anonymous);
        tally.add(Counter::Duplicates, duplicates);
        tally.add(Counter::RepeatedOrders, repeated_orders);
        tally.add(Counter::Headers, headers);
    }
}
