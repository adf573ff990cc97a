//! The list of modules: read it to know where a new test goes.
