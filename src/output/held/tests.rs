//! From whatever consumers hold to whatever is computed.
