//! The flags of `evaluate`.

use super::values::{number, one_of, whole};
use super::{AnswerArgs, DecodeArgs, Given, InputArg};
use crate::evaluate::protocols::Split;
use crate::evaluate::study::Freshness;
use clap::Args;
use deltacart_dataflows::{Exclude, Measure, Way};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

/// Examples of the command.
pub(super) const EXAMPLES: &str = "\
Examples:
  All ways and measures on the orders of the last two weeks, with one item of each hidden:
    deltacart evaluate --input orders.csv --format online-retail --split 14d
  Two settings of one way against popularity, next click by next click:
    deltacart evaluate --input clicks.tsv --format csv --delimiter tab \\
      --columns basket=SessionId,item=ItemId,time=Time --protocol next-item --split 0.2 --exclude none \\
      --answer-by popularity baskets:neighbours=100,300
  What a live job is worth, compared with models that are made again each day and week:
    deltacart evaluate --input orders.csv --format online-retail --protocol prequential --freshness day,week

Exit codes: 0 done, 1 the evaluation failed, 2 the command line or the settings are wrong.";

/// Flags of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Which of the flags were typed.
    #[arg(skip)]
    pub given: Given,
    /// The events: files, or - for standard input. gzip and zstd are recognised; SRC#FORMAT as in run
    #[arg(long, visible_alias = "train", value_name = "SRC", required = true, num_args = 1.., help_heading = "Input")]
    pub input: Vec<InputArg>,
    /// How records are decoded.
    #[command(flatten)]
    pub decode: DecodeArgs,
    /// For --protocol pair, the cases: a line each, given items, a tab, and the items to find, with blanks between
    /// items; perhaps a tab and the user
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub test: Option<PathBuf>,

    /// What is learned and what is asked. cart-completion: orders without an item. next-item: each step of a session.
    /// temporal, leave-last-basket, leave-last-out: what users did last. prequential: each event, then it is learned.
    /// pair: the lines of --test
    #[arg(
        long,
        default_value = "cart-completion",
        value_parser = one_of::<String>([
            "cart-completion", "next-item", "temporal", "leave-last-basket", "leave-last-out", "prequential", "pair",
        ]),
        help_heading = "Protocol"
    )]
    pub protocol: String,
    /// Where the part begins that is held out: a share of the baskets (0.2), days before the end (14d), a date or a
    /// time
    #[arg(long, default_value = "0.2", value_name = "WHERE", help_heading = "Protocol")]
    pub split: String,
    /// How many baskets a user must have for the last to be asked
    #[arg(long, default_value = "3", value_name = "BASKETS", value_parser = whole::<NonZeroUsize>, help_heading = "Protocol")]
    pub min_baskets: NonZeroUsize,
    /// After how many events a prequential model learns, as a job does at the end of an epoch
    #[arg(long, default_value = "100", value_name = "EVENTS", value_parser = whole::<NonZeroU64>, help_heading = "Protocol")]
    pub epoch_events: NonZeroU64,
    /// Prequential models beside the live one that learn only at the end of each hour, day or week
    #[arg(long, value_name = "PERIOD,…", value_delimiter = ',', help_heading = "Protocol")]
    pub freshness: Vec<Freshness>,
    /// The share of the sessions, orders or users that are asked, by a hash of their ids; all are learned
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = number, help_heading = "Protocol")]
    pub sample: f64,
    /// What chance depends on: hidden items, samples, intervals
    #[arg(long, default_value_t = 1, value_parser = whole::<u64>, help_heading = "Protocol")]
    pub seed: u64,

    /// What answers: lists, baskets, own, blend, popularity, recency, frequency, random; each perhaps with settings,
    /// and those with several values: baskets:neighbours=100,300:idf=0 [default: all, and lists by all measures]
    #[arg(long, value_name = "METHOD", num_args = 1.., help_heading = "Methods")]
    pub answer_by: Vec<String>,
    /// The method that the others are compared with [default: the first]
    #[arg(long, value_name = "METHOD", help_heading = "Methods")]
    pub baseline: Option<String>,
    /// What is kept out of answers: cart, last or none [default: none for leave-last-basket, else cart]
    #[arg(long, value_name = "WHAT", value_parser = one_of::<Exclude>(["cart", "last", "none"]), help_heading = "Methods")]
    pub exclude: Option<Exclude>,
    /// What orders a list, unless a method says otherwise
    #[arg(
        long,
        default_value = "cosine",
        value_parser = one_of::<Measure>(Measure::ALL.iter().map(|measure| measure.name())),
        help_heading = "Methods"
    )]
    pub measure: Measure,
    /// How many items a list has at most
    #[arg(short = 'k', long, default_value = "10", value_name = "K", value_parser = whole::<NonZeroUsize>, help_heading = "Methods")]
    pub top_k: NonZeroUsize,
    /// The fewest baskets that two items of a list must share
    #[arg(long, default_value = "1", value_name = "COUNT", value_parser = whole::<NonZeroU32>, help_heading = "Methods")]
    pub min_count: NonZeroU32,
    /// For cosine, how much of the penalty falls on the list's own item: from 0 to 1
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true, value_parser = number, help_heading = "Methods")]
    pub alpha: f64,
    /// For cosine, what is added to both supports
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "LAMBDA",
        allow_negative_numbers = true,
        value_parser = number,
        help_heading = "Methods"
    )]
    pub damping: f64,
    /// Answers.
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Search the settings of this way on a validation part of what is learned, add the best to the methods, and print
    /// the flags of run that set them
    #[arg(
        long,
        value_name = "WAY",
        value_parser = one_of::<Way>(["lists", "baskets", "own", "blend"]),
        help_heading = "Methods"
    )]
    pub tune: Option<Way>,
    /// How many settings --tune draws
    #[arg(long, default_value = "27", value_name = "N", value_parser = whole::<NonZeroUsize>, help_heading = "Methods")]
    pub trials: NonZeroUsize,

    /// Cutoffs: how many items of an answer count
    #[arg(long, default_value = "10,20", value_name = "K,…", value_delimiter = ',', help_heading = "Report")]
    pub at: Vec<usize>,
    /// How many samples intervals are drawn from; 0 for no intervals
    #[arg(long, default_value_t = 1000, value_name = "SAMPLES", value_parser = whole::<usize>, help_heading = "Report")]
    pub resamples: usize,
    /// Write the report as JSON to a file, or to standard output with -
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<String>,
    /// Write the report as CSV to a file, or to standard output with -
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub csv: Option<String>,
    /// Write the report as a page of HTML with curves, in one file
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub html: Option<String>,
    /// Write the candidates of each case as CSV, with features and whether they were right, to train on elsewhere
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub export: Option<String>,
    /// Replace files that exist
    #[arg(long, help_heading = "Report")]
    pub overwrite: bool,

    /// Worker threads [default: as many as there are cores]
    #[arg(short = 'w', long, value_name = "N", value_parser = whole::<NonZeroUsize>)]
    pub workers: Option<NonZeroUsize>,
}

impl EvaluateArgs {
    /// The files that are written, each with its flag.
    pub fn outputs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("--json", &self.json),
            ("--csv", &self.csv),
            ("--html", &self.html),
            ("--export", &self.export),
        ];
        all.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    /// The split.
    ///
    /// # Errors
    /// If it is none. The message names the flag.
    pub fn split(&self) -> Result<Split, String> {
        self.split.parse().map_err(|error| format!("--split {}: {error}", self.split))
    }
}
