//! The flags of the API: those that `run` and `serve` share, and those of `serve`.

use super::values::whole;
use super::{Given, KafkaArgs, Listen, Place};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  A replica of a job that writes two topics, at http://127.0.0.1:8080/:
    deltacart serve -b localhost:9092 --input kafka:recommendations --carts kafka:carts-recs
  The lists of a file, at another port:
    deltacart serve --input lists.jsonl --serve 9000";

/// Flags of the API.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Answer over HTTP at host:port, or at a port of this machine's loopback: look-ups, streams, a page, and questions
    /// to a job, which goes on when its input has ended. docs/serving.md has the API [default of run: off; of serve:
    /// 8080]
    #[arg(long, value_name = "ADDR", help_heading = "Serving")]
    pub serve: Option<Listen>,
    /// A file with the token that requests must carry as Authorization: Bearer TOKEN, at least 16 bytes
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub serve_token_file: Option<PathBuf>,
    /// The origin whose pages may ask, such as https://shop.example, or * for any [default: the server's own page only]
    #[arg(long, value_name = "ORIGIN", help_heading = "Serving")]
    pub serve_origin: Option<String>,
    /// How many connections may be open. Beyond, the one is closed that asked the longest ago
    #[arg(long, default_value = "512", value_name = "N", help_heading = "Serving", value_parser = whole::<NonZeroUsize>)]
    pub serve_connections: NonZeroUsize,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which of the flags were typed.
    #[arg(skip)]
    pub given: Given,
    /// The lists of items, as --output of a job writes them: kafka:TOPIC, a file, or - for standard input
    #[arg(long, value_name = "SRC")]
    pub input: Place,
    /// The answers of carts, as --output-carts writes them
    #[arg(long, value_name = "SRC")]
    pub carts: Option<Place>,
    /// The answers of users, as --output-users writes them
    #[arg(long, value_name = "SRC")]
    pub users: Option<Place>,
    /// The API.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
