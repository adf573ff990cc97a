//! The list of modules: read it to know where a new test goes.

// What the tests share.
mod harness;

// The dataflows equal the plain model after every epoch.
mod oracle;
