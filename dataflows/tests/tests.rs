//! The list of modules: read it to know where a new test goes.

// As clippy.toml says for tests: a panic there is the report. Their helpers are not known to it as tests.
#![allow(clippy::unwrap_used)]

// What the tests share: a dataflow run to its end, and what its updates add up to.
mod harness;

// Random shops: events, settings and ways to cut epochs.
mod shop;

// The dataflows equal the plain model after every epoch, whatever the events and the settings.
mod oracle;

// Shops of any size, from the toy to the benchmark, drawn on log scales.
mod sweep;

// All short sequences of events over very few baskets and items.
mod exhaustive;

// What must hold without knowing the lists: what is taken back leaves nothing, batching and workers do not matter.
mod laws;

// What is cut by a limit is a function of the data and can be taken back.
mod cuts;

// A real supermarket's baskets.
mod real;

// What a test does that lacks something here.
#[path = "../../tests/skipped.rs"]
mod skipped;

// Several processes publish together what one does.
mod processes;

// Snapshots of all baskets, taken while epochs run: a dataflow resumes from one as if it had never stopped.
mod snapshots;

// What each changed basket holds: its lines by their last touch, its users, whether it is recent.
mod states;

// A filter decides which pairs may be listed.
mod pair_filter;

// Items that come and go for good: their numbers given again, and nothing that grows with the names that ever were.
mod forgetting;

// Baskets that nothing happens to for a time give their lines back; days of a shop leave nothing behind.
mod expiry;

// Answers of carts, users and questions, by every way, are the plain model's at every epoch.
mod answers;

// Notes of what was odd: the model's, at every epoch.
mod notes;

// What the answers of carts said about the items that came next is what the model's answers said.
mod predictions;
