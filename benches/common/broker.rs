//! A Kafka broker for a benchmark: one that is running, or one that `scripts/kafka` starts.

use anyhow::{Result, bail, ensure};
use deltacart_inputs::kafka::{KafkaSettings, Role};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the broker and the job are waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A broker. It is stopped at the end if the benchmark started it.
pub(crate) struct Broker {
    pub(crate) brokers: String,
    started: bool,
}

impl Broker {
    pub(crate) fn reach(brokers: Option<String>) -> Result<Broker> {
        match brokers {
            Some(brokers) => Ok(Broker { brokers, started: false }),
            None => {
                let output = Broker::script("start").stdout(Stdio::piped()).output()?;
                ensure!(output.status.success(), "scripts/kafka could not start a broker");
                Ok(Broker { brokers: String::from_utf8(output.stdout)?.trim().to_owned(), started: true })
            }
        }
    }

    fn script(command: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut script = Command::new(root.join("scripts/kafka"));
        script.arg(command).arg("--dir").arg(root.join("scratch/bench-kafka")).stderr(Stdio::inherit());
        script
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.started {
            let _stopped = Broker::script("stop").status();
        }
    }
}

/// Waits until the job has committed all records of the workload.
pub(crate) fn wait_for_commits(
    settings: &KafkaSettings,
    topic: &str,
    group: &str,
    partitions: u32,
    records: i64,
) -> Result<()> {
    let mut config = settings.client_config(Role::Consumer);
    let consumer: BaseConsumer = config.set("group.id", group).create()?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions as i32 - 1);
        let committed = consumer.committed_offsets(asked, PATIENCE)?;
        let offsets = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        });
        if offsets.sum::<i64>() == records {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("the job has not taken the workload in within {} s", PATIENCE.as_secs())
}
