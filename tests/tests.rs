//! The list of modules: read it to know where a new test goes.

// The habits that can be checked by reading the code: lengths, layers, words.
mod tidy;
