//! The command line as it is typed: one flag a field, one doc comment a flag. `config` makes settings of it.

mod answers;
mod decode;
mod evaluate;
mod given;
mod input;
mod kafka;
mod log_args;
mod redact;
mod serve;
mod subjects;
mod top;
mod values;

pub use answers::AnswerArgs;
pub use decode::DecodeArgs;
pub use evaluate::EvaluateArgs;
pub use given::Given;
pub use input::{InputArg, OWN_SETTINGS};
pub use kafka::KafkaArgs;
pub use log_args::LogArgs;
pub use redact::redacted;
pub use serve::{ServeArgs, ServerArgs};
pub use subjects::{Recommend, SubjectArgs};
pub use top::TopArgs;
pub use values::{DeliveryKind, Listen, OnOff, Period, Place, Time};

use crate::output::Envelope;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use deltacart_dataflows::{Algorithm, Evidence, Measure};
use deltacart_inputs::OnExpired;
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::{RepeatedOrders, Tombstones};
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use values::{number, one_of, whole};

/// Live, exact item-to-item recommendations from a stream of cart events.
///
/// deltacart reads what goes into carts and orders, keeps for every item the list of items most often bought together
/// with it, and writes each list that changes to a topic or a file. The lists are exact after every epoch, and
/// everything can be taken back: a removed line, a cancelled order, a forgotten user.
#[derive(Debug, Parser)]
#[command(name = "deltacart", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What is said of it.
    #[command(flatten)]
    pub log: LogArgs,
}

impl Cli {
    /// Parses a command line. The first word is the program's name.
    ///
    /// # Errors
    /// When the command line cannot be parsed, or asks for help. The error has the text to print and the exit code.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
        let matches = Cli::command().try_get_matches_from(words)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        let given = matches.subcommand().map(|(_name, matches)| Given::of(matches)).unwrap_or_default();
        match &mut cli.command {
            Command::Run(args) => args.given = given,
            Command::Generate(args) => args.given = given,
            Command::Top(args) => args.given = given,
            Command::Evaluate(args) => args.given = given,
            Command::Serve(args) => args.given = given,
            Command::Demo(_) | Command::Completions { .. } => {}
        }
        Ok(cli)
    }
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 the job failed, 2 the command line or the settings are wrong.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Maintain the lists of a stream or a file of cart events
    ///
    /// Runs until the input ends (a file does, a topic does not) or SIGINT or SIGTERM: then the epoch is finished,
    /// everything is flushed, and the exit code is 0.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Watch it work: an embedded broker, a live shop, the job and its lists, with no set-up at all
    Demo(DemoArgs),
    /// Write the events of a seeded, skewed shop
    ///
    /// The same flags give the same events, always. What it makes is synthetic; its ratios of removes and purchases to
    /// adds are those of a real shop.
    Generate(GenerateArgs),
    /// Show a recommendation topic or file as a table
    Top(TopArgs),
    /// Serve the lists of topics or files over HTTP, without computing: a replica of a job
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Measure how good answers would have been, by every way and measure, on events that are held out
    #[command(after_help = evaluate::EXAMPLES)]
    Evaluate(Box<EvaluateArgs>),
    /// Print completions for a shell
    ///
    /// For bash: deltacart completions bash > /etc/bash_completion.d/deltacart
    Completions {
        /// The shell
        shell: Shell,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  Lists of a CSV file, every row an add of one:
    deltacart run --input carts.csv --format csv --columns basket=session,item=item --output lists.jsonl
  A topic of GA4 events to a topic of lists, on two threads:
    deltacart run -b localhost:9092 --input kafka:carts --format ga4 --output kafka:recommendations -w 2
  What the lists would be by another measure, checked against a computation from scratch:
    deltacart run --input orders.jsonl.gz --measure llr -k 20 --verify --output lists.jsonl

Exit codes: 0 done, 1 the job failed, 2 the command line or the settings are wrong.";

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which of the flags were typed.
    #[arg(skip)]
    pub given: Given,
    /// Where events come from: kafka:TOPIC, a file, or - for standard input. Several topics and files are read side by
    /// side; gzip and zstd are recognised. SRC#FORMAT says that one has a format of its own, and
    /// 'SRC#FORMAT&columns=…&basket=…' more of its settings
    #[arg(long, value_name = "SRC", required = true, num_args = 1.., help_heading = "Input")]
    pub input: Vec<InputArg>,
    /// How records are decoded.
    #[command(flatten)]
    pub decode: DecodeArgs,
    /// Where the schemas of Avro and Protobuf are, behind a schema's id in the value or a header: the address of a
    /// registry, http://HOST:PORT, with a path if it has one, or a folder of schemas. docs/formats.md has the layouts
    #[arg(long, value_name = "URL", help_heading = "Input")]
    pub schema_registry: Option<Secretive>,
    /// A file with one line, user:password, for the schema registry; or user:password@ in its address
    #[arg(long, value_name = "FILE", requires = "schema_registry", help_heading = "Input")]
    pub schema_registry_login: Option<PathBuf>,
    /// Where to begin in a topic: beginning, end, committed (where the group stopped), or a time (RFC 3339 or epoch
    /// milliseconds)
    #[arg(long, default_value = "beginning", help_heading = "Input")]
    pub from: StartFrom,
    /// End where the topic ended when the job started
    #[arg(long, help_heading = "Input")]
    pub until_end: bool,
    /// The longest record, in bytes; a longer one is rejected
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", help_heading = "Input", value_parser = whole::<usize>)]
    pub max_record_bytes: usize,
    /// How many lines and events of one record that cannot be used get a dead letter each; more are counted
    #[arg(long, default_value = "100", value_name = "LETTERS", help_heading = "Input", value_parser = whole::<NonZeroUsize>)]
    pub max_letters_per_record: NonZeroUsize,
    /// Among how many event ids of its partition, back from the last, a repeated event is found and dropped; 0 looks
    /// for none
    #[arg(long, default_value_t = 100_000, value_name = "IDS", help_heading = "Input", value_parser = whole::<usize>)]
    pub duplicate_horizon: usize,
    /// What becomes of a purchase that repeats an order met lately, with the same id and the same lines: auto (dropped
    /// in ga4, segment and snowplow), drop or keep
    #[arg(
        long,
        default_value = "auto",
        value_parser = one_of::<RepeatedOrders>(["auto", "drop", "keep"]),
        help_heading = "Input"
    )]
    pub repeated_orders: RepeatedOrders,
    /// What a record without a value means: reject, ignore, or forget, for a compacted topic whose keys are the baskets
    #[arg(
        long,
        default_value = "reject",
        value_parser = one_of::<Tombstones>(["reject", "ignore", "forget"]),
        help_heading = "Input"
    )]
    pub tombstones: Tombstones,
    /// How many decimals of a quantity are kept, from 0 to 3. Beyond them, a quantity counts as the next larger one
    #[arg(long, default_value_t = 0, value_name = "DIGITS", value_parser = clap::value_parser!(u32).range(0..=3), help_heading = "Input")]
    pub quantity_decimals: u32,
    /// How often to look for new partitions of the topics, and at the topic of lists
    #[arg(long, default_value = "10s", value_name = "TIME", help_heading = "Input")]
    pub metadata_refresh: Time,

    /// What orders a list. lift puts pairs that were seen once first: give it a --min-count of 5 or more
    #[arg(
        long,
        default_value = "cosine",
        value_parser = one_of::<Measure>(Measure::ALL.iter().map(|measure| measure.name())),
        help_heading = "What to compute"
    )]
    pub measure: Measure,
    /// How many items a list has at most
    #[arg(short = 'k', long, default_value = "10", value_name = "K", help_heading = "What to compute", value_parser = whole::<NonZeroUsize>)]
    pub top_k: NonZeroUsize,
    /// The fewest baskets that two items must share
    #[arg(long, default_value = "1", value_name = "COUNT", help_heading = "What to compute", value_parser = whole::<NonZeroU32>)]
    pub min_count: NonZeroU32,
    /// For cosine, how much of the penalty falls on the list's own item: from 0 to 1
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true, help_heading = "What to compute", value_parser = number)]
    pub alpha: f64,
    /// For cosine, what is added to both supports, so that rare items do not come first; 20 is common
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "LAMBDA",
        allow_negative_numbers = true,
        help_heading = "What to compute", value_parser = number)]
    pub damping: f64,
    /// Which events hold an item in a basket: one or more of view, add, purchase
    #[arg(long, default_value_t, value_name = "KINDS", help_heading = "What to compute")]
    pub evidence: Evidence,
    /// The most items of a basket: beyond, the oldest makes room
    #[arg(long, default_value = "10000", value_name = "ITEMS", help_heading = "What to compute", value_parser = whole::<NonZeroUsize>)]
    pub max_basket_items: NonZeroUsize,
    /// Forget a basket when nothing has happened to it for so long, by the times of its partition's events, such as 72h
    /// [default: never]
    #[arg(long, value_name = "TIME", help_heading = "What to compute")]
    pub basket_idle: Option<Time>,
    /// How many baskets may speak for an item: beyond, a fixed sample of them does, and its counts are estimates
    /// [default: none]
    #[arg(long, value_name = "BASKETS", help_heading = "What to compute", value_parser = whole::<NonZeroU32>)]
    pub max_item_baskets: Option<NonZeroU32>,
    /// Which program computes the lists: the fast one, or the obvious one, for comparison. Both give the same
    #[arg(
        long,
        default_value = "fast",
        value_parser = one_of::<Algorithm>(["fast", "reference"]),
        help_heading = "What to compute"
    )]
    pub engine: Algorithm,
    /// Compare the lists with a computation from scratch at the end, and fail if any differs
    #[arg(long, help_heading = "What to compute")]
    pub verify: bool,
    /// Compare them every so many epochs, too
    #[arg(long, value_name = "EPOCHS", help_heading = "What to compute", value_parser = whole::<NonZeroU64>)]
    pub verify_every: Option<NonZeroU64>,

    /// Where changed lists go: kafka:TOPIC, a file, or - for standard output. A topic is made when it is missing
    #[arg(long, default_value = "-", value_name = "DST", help_heading = "Output")]
    pub output: Place,
    /// The shape of the records: upsert (the whole new list by item), changes (each pair that entered, left or was
    /// rescored) or debezium (before and after). docs/output.md has every field
    #[arg(
        long,
        default_value = "upsert",
        value_parser = one_of::<Envelope>(Envelope::ALL.iter().map(|envelope| envelope.name())),
        help_heading = "Output"
    )]
    pub envelope: Envelope,
    /// Whether records have scores and counts. Without, only a change of members or their order is published
    #[arg(long, default_value = "on", help_heading = "Output")]
    pub scores: OnOff,
    /// Digits after the point of a published score, from 0 to 9. A change that the rounding hides is not published
    #[arg(long, default_value_t = 3, value_name = "DIGITS", value_parser = clap::value_parser!(u32).range(0..=9), help_heading = "Output")]
    pub score_digits: u32,
    /// How often a changed list leaves the job at most, such as 1s: exact at the epoch it names. 0: at every epoch
    #[arg(long, default_value = "0", value_name = "TIME", help_heading = "Output")]
    pub lists_every: Period,
    /// How many partitions a topic gets that has to be made [default: as many as the input has, or 1]
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = whole::<NonZeroU32>)]
    pub output_partitions: Option<NonZeroU32>,
    /// How often consumers of a topic that read committed records get each: exactly-once, or at-least-once, for brokers
    /// without transactions
    #[arg(long, default_value = "exactly-once", help_heading = "Output")]
    pub delivery: DeliveryKind,
    /// The name of the job, the same in every run of it: a new run takes the output over from the one before
    /// [default: deltacart-TOPIC, by the output's topic]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub job: Option<String>,
    /// How many transactional ids any run of the job may have: three for each worker, over all processes
    #[arg(long, default_value = "64", value_name = "N", help_heading = "Output", value_parser = whole::<NonZeroU32>)]
    pub slots: NonZeroU32,
    /// Where records go that cannot be used, with the reason: kafka:TOPIC, a file, or -. Without it they are counted
    #[arg(long, value_name = "DST", help_heading = "Output")]
    pub dead_letter: Option<Place>,
    /// Where notes of odd events go, such as a removal of what was never added: kafka:TOPIC, a file, or -. Without it
    /// they are counted
    #[arg(long, value_name = "DST", help_heading = "Output")]
    pub notes: Option<Place>,
    /// Replace the lists in the file of --output, and the letters in that of --dead-letter. A file that holds something
    /// else is left alone, and without this flag any that is not empty; then the job does not start
    #[arg(long, conflicts_with = "state", help_heading = "Output")]
    pub overwrite: bool,

    /// How long an epoch lasts: what arrives in it is counted together, and its lists are published at its end
    /// [default for topics and standard input: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "Epochs and limits")]
    pub epoch: Option<Time>,
    /// End an epoch after so many records of each partition instead: the same epochs in every run [default for files:
    /// 10000]
    #[arg(long, value_name = "RECORDS", conflicts_with = "epoch", help_heading = "Epochs and limits", value_parser = whole::<NonZeroU64>)]
    pub epoch_events: Option<NonZeroU64>,
    /// How many epochs may be open. Beyond, no epoch begins and the open one grows; with --epoch-events, reading stops
    #[arg(long, default_value = "3", value_name = "EPOCHS", help_heading = "Epochs and limits", value_parser = whole::<NonZeroU64>)]
    pub max_epochs_ahead: NonZeroU64,
    /// The most events of one worker in one epoch of --epoch
    #[arg(long, default_value = "1000000", value_name = "EVENTS", help_heading = "Epochs and limits", value_parser = whole::<NonZeroUsize>)]
    pub max_epoch_events: NonZeroUsize,
    /// The most bytes of records of one worker in one epoch of --epoch
    #[arg(long, default_value = "268435456", value_name = "BYTES", help_heading = "Epochs and limits", value_parser = whole::<NonZeroUsize>)]
    pub max_epoch_bytes: NonZeroUsize,

    /// A folder for snapshots, or s3://BUCKET/PREFIX, gs://… or az://…, from which the job resumes when it is started
    /// again; all processes need the same [default: none, and it starts over]
    #[arg(long, value_name = "DIR", help_heading = "Recovery")]
    pub state: Option<PathBuf>,
    /// How often a snapshot is taken; 0 for one at an orderly end only
    #[arg(long, default_value = "1m", value_name = "TIME", requires = "state", help_heading = "Recovery")]
    pub snapshot_every: Period,
    /// What to do when the input no longer has what followed the snapshot: fail, or continue with what is left
    #[arg(
        long,
        default_value = "fail",
        value_name = "WHAT",
        value_parser = one_of::<OnExpired>(["fail", "continue"]),
        requires = "state",
        help_heading = "Recovery"
    )]
    pub on_expired: OnExpired,

    /// Carts and users.
    #[command(flatten)]
    pub subjects: SubjectArgs,

    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,

    /// Serve /metrics, /healthz and /readyz at host:port, or at a port of this machine's loopback; each process of a
    /// machine needs a port of its own [default: off]
    #[arg(long, value_name = "ADDR", help_heading = "Observation")]
    pub metrics: Option<Listen>,

    /// The API.
    #[command(flatten)]
    pub server: ServerArgs,
    /// How many questions of --serve may wait for the close of their epoch; more are refused
    #[arg(long, default_value = "1024", value_name = "N", help_heading = "Serving", value_parser = whole::<NonZeroUsize>)]
    pub serve_questions: NonZeroUsize,

    /// Worker threads of this process
    #[arg(short = 'w', long, default_value = "1", value_name = "N", help_heading = "Cluster", value_parser = whole::<NonZeroUsize>)]
    pub workers: NonZeroUsize,
    /// Processes of the cluster, all with the same flags but -p
    #[arg(short = 'n', long, default_value = "1", value_name = "N", help_heading = "Cluster", value_parser = whole::<NonZeroUsize>)]
    pub processes: NonZeroUsize,
    /// Which process this is, from 0
    #[arg(short = 'p', long, default_value_t = 0, value_name = "I", help_heading = "Cluster", value_parser = whole::<usize>)]
    pub process: usize,
    /// A file with the address host:port of each process, one a line [default: localhost:2101, 2102, …]
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub hostfile: Option<PathBuf>,
    /// Where this process listens for the others, host:port, if not at its address in the host file
    #[arg(long, value_name = "ADDR", help_heading = "Cluster")]
    pub listen: Option<String>,
    /// A file with the secret that all processes prove to each other, at least 16 bytes; or DELTACART_CLUSTER_SECRET.
    /// Without one, processes meet on loopback only
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub cluster_secret_file: Option<PathBuf>,
    /// How long to wait for the other processes at the start
    #[arg(long, default_value = "60s", value_name = "TIME", help_heading = "Cluster")]
    pub join_timeout: Time,
    /// End when another process has given no sign of life for so long
    #[arg(long, default_value = "8s", value_name = "TIME", help_heading = "Cluster")]
    pub peer_timeout: Time,
    /// End when a worker hangs for so long. Must be well above its longest step, which grows with the records of an
    /// epoch: a million take seconds to a minute or two. Not watched: standard output, whose reader may take its time
    #[arg(long, default_value = "5m", value_name = "TIME", help_heading = "Cluster")]
    pub stall_timeout: Time,
    /// Once the job is asked to stop, how long the reader of a pipe may take for what is on its way to it
    #[arg(long, default_value = "10s", value_name = "TIME", help_heading = "Output")]
    pub stop_timeout: Time,
}

/// A text in which a password may stand: anything is taken, so that no message repeats it, and `Debug` hides it.
#[derive(Clone)]
pub struct Secretive(pub String);

impl std::str::FromStr for Secretive {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Secretive, Self::Err> {
        Ok(Secretive(text.to_owned()))
    }
}

impl std::fmt::Debug for Secretive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after so many seconds [default: when interrupted]
    #[arg(long, value_parser = whole::<u64>)]
    pub seconds: Option<u64>,
    /// Which shop
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// Events a second
    #[arg(long, default_value_t = 200.0, value_parser = number)]
    pub rate: f64,
    /// How many items a list has at most
    #[arg(short = 'k', long, default_value = "4", value_name = "K", value_parser = whole::<NonZeroUsize>)]
    pub top_k: NonZeroUsize,
    /// Show it on a page, too: serve the API and the page at host:port, or at a port of this machine's loopback
    #[arg(long, value_name = "ADDR")]
    pub serve: Option<Listen>,
}

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Which of the flags were typed.
    #[arg(skip)]
    pub given: Given,
    /// Where events go: kafka:TOPIC, keyed by basket, a file, or - for standard output
    #[arg(long, default_value = "-", value_name = "DST")]
    pub output: Place,
    /// Replace the events that the file of --output holds; one that holds something else is left alone
    #[arg(long)]
    pub overwrite: bool,
    /// How many events [default: no end]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub events: Option<u64>,
    /// Which shop: the same flags give the same events
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// How many items the shop has
    #[arg(long, default_value_t = 1000, value_parser = whole::<u32>)]
    pub items: u32,
    /// How many users it has
    #[arg(long, default_value_t = 10_000, value_parser = whole::<u32>)]
    pub users: u32,
    /// How skewed the items' popularity is: the exponent of Zipf's law
    #[arg(long, default_value_t = 1.0, value_parser = number)]
    pub zipf: f64,
    /// Removes for each add
    #[arg(long, default_value_t = 0.686, value_parser = number)]
    pub removes: f64,
    /// Purchased lines for each add
    #[arg(long, default_value_t = 0.226, value_parser = number)]
    pub purchases: f64,
    /// Events a second [default: as fast as they go]
    #[arg(long, value_parser = number)]
    pub rate: Option<f64>,
    /// How many partitions a topic gets that has to be made
    #[arg(long, default_value = "4", value_name = "N", value_parser = whole::<NonZeroU32>)]
    pub partitions: NonZeroU32,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
