//! The number of events that are due at a time. It depends on the time since the start only, so a late turn is made
//! up for and the rate does not drift.

use std::time::Duration;

/// A rate in events a second, after a head start; without a rate, all events are due at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: Option<f64>,
    head_start: u64,
}

impl Pace {
    /// `rate` is in events a second, above 0.
    pub(super) fn new(rate: Option<f64>, head_start: u64) -> Self {
        Pace { rate, head_start }
    }

    /// The number of events that should have been written when `elapsed` has passed since the start.
    pub(super) fn due(&self, elapsed: Duration) -> u64 {
        // The cast saturates: a product beyond the range of u64 becomes the largest.
        self.rate
            .map_or(u64::MAX, |rate| self.head_start.saturating_add((elapsed.as_secs_f64() * rate) as u64))
    }

    /// When the event after the first `events` is due, as the time since the start.
    pub(super) fn due_at(&self, events: u64) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let paced = events.saturating_add(1).saturating_sub(self.head_start);
        Duration::try_from_secs_f64(paced as f64 / rate).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_does_not_drift() {
        let pace = Pace::new(Some(200.0), 0);
        assert_eq!(pace.due(Duration::ZERO), 0);
        assert_eq!(pace.due(Duration::from_millis(4)), 0);
        assert_eq!(pace.due(Duration::from_millis(5)), 1);
        assert_eq!(pace.due(Duration::from_secs(86_400)), 200 * 86_400);
        assert_eq!(pace.due_at(0), Duration::from_millis(5));
        assert_eq!(pace.due_at(399), Duration::from_secs(2));
    }

    #[test]
    fn a_head_start_is_due_at_once() {
        let pace = Pace::new(Some(0.5), 1_000);
        assert_eq!(pace.due(Duration::ZERO), 1_000);
        assert_eq!(pace.due_at(500), Duration::ZERO);
        assert_eq!(pace.due_at(1_000), Duration::from_secs(2));
        assert_eq!(pace.due(Duration::from_secs(5)), 1_002);
    }

    #[test]
    fn extremes() {
        let everything = Pace::new(None, 0);
        assert_eq!((everything.due(Duration::ZERO), everything.due_at(7)), (u64::MAX, Duration::ZERO));
        let slow = Pace::new(Some(0.001), 0);
        assert_eq!(slow.due(Duration::from_secs(999)), 0);
        assert_eq!(Pace::new(Some(1e-300), 0).due_at(u64::MAX), Duration::MAX);
        assert_eq!(Pace::new(Some(1e9), u64::MAX).due(Duration::MAX), u64::MAX);
    }
}
