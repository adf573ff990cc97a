//! A source over a real broker.
