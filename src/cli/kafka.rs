//! The flags by which commands reach Kafka.

use super::Time;
use clap::Args;
use std::path::PathBuf;

/// How to reach Kafka.
#[derive(Debug, Args)]
pub struct KafkaArgs {
    /// The brokers, host:port,host:port
    #[arg(short = 'b', long, value_name = "HOST:PORT,…", help_heading = "Kafka")]
    pub brokers: Option<String>,
    /// A property of librdkafka, such as security.protocol=SASL_PLAINTEXT; consumer. or producer. before it says which
    /// client it is for
    #[arg(short = 'X', value_name = "KEY=VALUE", help_heading = "Kafka")]
    pub property: Vec<String>,
    /// A file of properties, key=value lines. Secrets belong here, not on a command line that anyone can list
    #[arg(short = 'F', long, value_name = "FILE", help_heading = "Kafka")]
    pub properties_file: Vec<PathBuf>,
    /// The consumer group whose offsets are committed, for tools that watch the lag
    /// [default: deltacart]
    #[arg(short = 'G', long, help_heading = "Kafka")]
    pub group: Option<String>,
    /// How long to wait for the brokers at the start
    #[arg(long, default_value = "15s", value_name = "TIME", help_heading = "Kafka")]
    pub startup_timeout: Time,
}
