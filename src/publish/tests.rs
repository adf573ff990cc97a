//! The operator with a sink of its own.
