//! The integration tests of the binary, one module for each subject: read the list to know where a new test goes.

// As clippy.toml says for tests, a panic is the report. Clippy does not recognise their helpers as tests.
#![allow(clippy::unwrap_used)]

// Code style that can be checked by reading the code: lengths, layers, words.
mod tidy;

// Modules depend on each other in one direction.
mod modules;

// The README: its commands work, their output is as printed, the defaults are those of the flags.
mod readme;

// Helpers that the tests of the binary share.
mod support;

// How a test skips itself where it lacks something, such as a broker.
mod skipped;

// The command line as a user meets it: complete commands, exit codes, signals, pipes.
mod cli;

// Input files as shops have them: encodings, arrays, archives, headers, orders.
mod files;

// Parquet in and out: the lists of the same events as lines. Needs the feature parquet.
#[cfg(feature = "parquet")]
mod parquet;

// No command line loses a file that it reads, writes or finds.
mod file_safety;

// Reports about unusable inputs and about progress, and the exit codes of incomplete runs.
mod honesty;

// Records that nobody should send, in every format: dead letters, exit 0, and those between them count.
mod hostile;

// Engines, numbers of workers and processes, cuts and envelopes, compared with each other and with the model.
mod oracle;

// Clusters of processes: unknown peers, different flags, failures and silence.
mod cluster;

// Data of real shops, compared with the model after every epoch.
mod real;

// A job that is stopped or killed and resumes from its snapshots has the lists of one that never stopped.
mod state;

// The command `evaluate`: reports, protocols, and what it refuses.
mod evaluate;

// Regressions, each with its story.
mod regression;

// The corpora of the fuzz targets, replayed on stable Rust.
mod fuzz;

// Observation of a running job: metrics, readiness, logs, and hostile clients.
mod metrics;

// The API of `run --serve` and of `serve`: look-ups, questions, streams, errors, hostile clients, and the page.
mod serve;

// Topics of a real broker in and out: the lists of a file with the same events. Needs DELTACART_TEST_BROKERS.
mod kafka;

// The keys and timestamps of records: baskets, tombstones, where to begin.
mod keys;

// Topics that a command reads, writes or finds: whatever is typed, no topic is created by mistake or gets two kinds of
// records.
mod topic_safety;

// Topics: how jobs create them, and how they react when others change them.
mod topics;

// Several inputs in one run, each with its own format: topics and files, and what is refused.
mod streams;

// Avro, Protobuf and JSON behind the ids of schemas, by a real registry. Needs DELTACART_TEST_REGISTRY and a broker.
#[cfg(feature = "schema-registry")]
mod registry;

// Jobs killed, stopped and started again with other settings, against a real broker: what consumers see of it.
mod recovery;

// Notes of what was odd: each of the model's once, in files and topics, whatever is killed.
mod notes;

// What the answers of carts said about the items that came next: the same whatever the workers, and not twice.
mod predictions;

// Answers of carts and users through a real broker, in one transaction with the lists, however often a job is killed.
mod answers;

// Failures around a job: full disks, unreachable brokers, deleted topics, withdrawn permissions.
mod failures;
