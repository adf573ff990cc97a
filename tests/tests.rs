//! The list of modules: read it to know where a new test goes.

// As clippy.toml says for tests: a panic there is the report. Their helpers are not known to it as tests.
#![allow(clippy::unwrap_used)]

// The habits that can be checked by reading the code: lengths, layers, words.
mod tidy;

// Modules depend on each other in one direction.
mod modules;

// The README, held to what it says: its commands, their output, the defaults.
mod readme;

// What the tests of the binary share.
mod support;

// What a test does that lacks something here.
mod skipped;

// The command line as a user meets it: complete commands, exit codes, signals, pipes.
mod cli;

// Files as shops have them: encodings, arrays, archives, headers, orders.
mod files;

// Files that a command reads, writes or finds: none is lost, whatever is typed.
mod file_safety;

// What is said of inputs that cannot be used, and while a job works; exit codes of runs that did not do all.
mod honesty;

// Records that nobody should send, in every format: dead letters, exit 0, and those between them count.
mod hostile;

// Every engine, number of workers and processes, cut and envelope against each other and the model.
mod oracle;

// Clusters of processes: strangers, other flags, deaths and silence.
mod cluster;

// Real shops' data, compared with the model after every epoch.
mod real;

// A job that is stopped, killed and started again from its snapshots: the lists of one that never stopped.
mod state;

// Defects that were found once, each with its story.
mod regression;

// What the fuzzers found worth keeping, through the same functions: no nightly compiler needed.
mod fuzz;

// What can be seen of a running job: metrics, readiness, logs, and what hostile clients can do.
mod metrics;

// Topics of a real broker in and out: the lists of a file with the same events. Needs DELTACART_TEST_BROKERS.
mod kafka;

// What the keys and the stamps of records say: baskets, tombstones, where to begin.
mod keys;

// Topics that a command reads, writes or finds: whatever is typed, none is made by mistake or becomes two things.
mod topic_safety;

// What a job makes of topics, and of what others do to them while it runs.
mod topics;

// Several inputs in one run, each with a format of its own: topics and files, and what is refused.
mod streams;

// Avro, Protobuf and JSON behind the ids of schemas, by a real registry. Needs DELTACART_TEST_REGISTRY and a broker.
#[cfg(feature = "schema-registry")]
mod registry;

// Jobs killed, stopped and started again with other settings, against a real broker: what consumers see of it.
mod recovery;

// What goes wrong around a job: full disks, brokers that are away, topics and permissions that are taken away.
mod failures;
