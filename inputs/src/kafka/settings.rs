//! How to reach Kafka: brokers and properties, as given by `-b`, `-X` and `-F`, and what they become for each client.
//!
//! # Notes
//! - A property is librdkafka's, by its own name; `consumer.` or `producer.` before it says which client it is for.
//!   One with a prefix wins over one without; after that the later one wins, and `-X` comes after `-F`.
//! - Values of properties that may be secret appear in no message and in no `Debug` output.

use crate::secrets::warn_of_readers;
use rdkafka::ClientConfig;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads a topic.
    Consumer,
    /// Writes to topics.
    Producer,
    /// Asks about topics and creates them. Takes no property with a prefix, and belongs to no group.
    Admin,
}

/// The same for all clients.
const COMMON: [(&str, &str); 4] = [
    // The name that broker logs and quotas show.
    ("client.id", "deltacart"),
    // Brokers close idle connections; librdkafka opens them again, and nobody needs to hear of it.
    ("log.connection.close", "false"),
    // A request leaves at once. Otherwise the kernel keeps a small one back until the answer to the one before has been
    // acknowledged, up to 40 ms: more than all else that an event waits for.
    ("socket.nagle.disable", "true"),
    // A topic that nobody made is an error. A broker that makes it by itself gives it properties that nobody chose: one
    // partition, and for a table of lists a policy that deletes it by time.
    ("allow.auto.create.topics", "false"),
];

const CONSUMER: [(&str, &str); 12] = [
    // Only remembers offsets for lag tools; the job assigns the partitions itself.
    ("group.id", "deltacart"),
    // An offset is committed when its epoch is out, not when librdkafka has handed the record over.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Tells a bounded run that it has come to the end, also where no record stands there (transaction markers,
    // compaction).
    ("enable.partition.eof", "true"),
    // What a producer has taken back never was.
    ("isolation.level", "read_committed"),
    // Records that retention took before they were read are missing from every list: an error, not a jump.
    ("auto.offset.reset", "error"),
    // How long a broker may keep a fetch that finds nothing. One fetch per broker is under way at a time, so a
    // partition that becomes ready to fetch waits as long; 20 requests a second are nothing to a broker.
    ("fetch.wait.max.ms", "50"),
    // The default of 1000 stalls a partition for a second whenever its queue has filled (librdkafka #2879).
    ("fetch.queue.backoff.ms", "10"),
    // Records fetched ahead, for each partition: whichever of the two is reached first. Together with one more fetch
    // this bounds a partition to some 20 MB, and lasts for a tenth of a second of full speed.
    ("queued.max.messages.kbytes", "8192"),
    ("queued.min.messages", "20000"),
    // How old the lag may be that is shown: the ends of partitions come with the statistics.
    ("statistics.interval.ms", "2000"),
    // Finds out within a minute, not five, that a leader has moved while nothing was being fetched from it.
    ("topic.metadata.refresh.interval.ms", "60000"),
];

const PRODUCER: [(&str, &str); 4] = [
    // A retry neither doubles nor reorders records. Implies acks=all.
    ("enable.idempotence", "true"),
    // The partition that a Java client would choose, so that topics keyed alike are partitioned alike; librdkafka's
    // own default differs. The same in every run, for a list must stay in its partition.
    ("partitioner", "murmur2_random"),
    // Records wait this long for company in their batch. An epoch's come together, and the next one waits for their
    // delivery: 5 ms, the default, makes a job of small epochs half as slow again, and none makes more requests.
    ("linger.ms", "1"),
    // Lists repeat their item ids and compress well; lz4 costs least.
    ("compression.codec", "lz4"),
];

/// What the job relies on: the user may repeat it, not change it.
const RESERVED: [&str; 5] = [
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "allow.auto.create.topics",
    "partitioner",
];

/// Second names of properties, so that setting one of a pair replaces the other.
const ALIASES: [(&str, &str); 9] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.type", "compression.codec"),
    ("request.required.acks", "acks"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("message.send.max.retries", "retries"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
];

/// How long a job waits at its start for brokers to answer, unless told otherwise.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Brokers and properties.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    brokers: String,
    properties: Vec<Property>,
    startup_timeout: Duration,
}

#[derive(Clone, PartialEq, Eq)]
struct Property {
    /// The only client it is for, if it had a prefix.
    role: Option<Role>,
    name: String,
    value: String,
}

/// Settings that cannot be understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Neither a flag nor a property says where Kafka is.
    #[error("no broker is named: give -b/--brokers host:port")]
    NoBrokers,
    /// A broker with a login in its address, which is not repeated.
    #[error(
        "-b/--brokers and bootstrap.servers are host:port without a user and a password: those are the properties \
         sasl.username and sasl.password, in a file for -F/--properties-file"
    )]
    Credentials,
    /// A property without `=`, or without a name. Its text may be a secret and is not repeated.
    #[error("property {number} of -X/--property is not of the form name=value")]
    Property {
        /// Which of them, from 1.
        number: usize,
    },
    /// A line of a properties file without `=`, or without a name.
    #[error("{path}, line {line}: not of the form name=value")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A properties file that cannot be read.
    #[error("cannot read the properties file {path}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A property that the job relies on.
    #[error(
        "the property {name} must be {value} for this job: remove it from -X/--property or -F/--properties-file"
    )]
    Reserved {
        /// The property.
        name: String,
        /// What the job sets it to.
        value: &'static str,
    },
    /// A start position in seconds.
    #[error("{text} is {meaning}; milliseconds? {wanted} is {instead}")]
    Seconds {
        /// What was given.
        text: String,
        /// The time that it stands for.
        meaning: String,
        /// The time that was meant.
        wanted: String,
        /// How that is written.
        instead: i64,
    },
    /// A start position in microseconds or smaller.
    #[error("{text} is beyond the year 9999; milliseconds since 1970 have 13 digits in our days")]
    Far {
        /// What was given.
        text: String,
    },
    /// A start position that is none.
    #[error(
        "{text:?} is no start position: beginning, end, committed, an RFC 3339 time or epoch milliseconds"
    )]
    Start {
        /// What was given instead.
        text: String,
    },
}

impl KafkaSettings {
    /// The brokers of a bootstrap list (`host:port,host:port`), without further properties.
    pub fn new(brokers: impl Into<String>) -> KafkaSettings {
        KafkaSettings { brokers: brokers.into(), properties: Vec::new(), startup_timeout: STARTUP_TIMEOUT }
    }

    /// What the flags say: `-b` (which wins over a property `bootstrap.servers`), the files of `-F` in their order,
    /// and the `name=value` texts of `-X` in theirs.
    pub fn from_flags(
        brokers: Option<&str>,
        files: &[PathBuf],
        properties: &[String],
    ) -> Result<KafkaSettings, SettingsError> {
        let mut settings = KafkaSettings::new("");
        for path in files {
            settings.read_file(path)?;
        }
        for (number, property) in (1..).zip(properties) {
            let (name, value) = split(property).ok_or(SettingsError::Property { number })?;
            settings.set(name, value)?;
        }
        if let Some(brokers) = brokers {
            settings.set("bootstrap.servers", brokers)?;
        }
        if settings.brokers.is_empty() {
            return Err(SettingsError::NoBrokers);
        }
        Ok(settings)
    }

    /// Sets a property, which may have a prefix. Whether there is such a property is known when a client is made.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        let (role, name) = match name.split_once('.') {
            Some(("consumer", name)) => (Some(Role::Consumer), name),
            Some(("producer", name)) => (Some(Role::Producer), name),
            _ => (None, name),
        };
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        if RESERVED.contains(&name) {
            let ours =
                COMMON.iter().chain(&CONSUMER).chain(&PRODUCER).find(|(reserved, _)| *reserved == name);
            let ours = ours.expect("every reserved property has a value of ours").1;
            if value != ours {
                return Err(SettingsError::Reserved { name: name.to_string(), value: ours });
            }
        }
        if name == "bootstrap.servers" && value.contains('@') {
            return Err(SettingsError::Credentials);
        }
        if name == "bootstrap.servers" && role.is_none() {
            self.brokers = value.to_string();
        } else {
            self.properties.push(Property { role, name: name.to_string(), value: value.to_string() });
        }
        Ok(())
    }

    /// Lines of the form `name=value`; empty ones and those that begin with `#` or `!` are comments.
    fn read_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let shown = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::File { path: shown(), source })?;
        let mut holds_secret = false;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with(['#', '!']) {
                continue;
            }
            let (name, value) = split(text).ok_or_else(|| SettingsError::Line { path: shown(), line })?;
            self.set(name, value)?;
            holds_secret |= is_secret(name);
        }
        if holds_secret {
            warn_of_readers(path);
        }
        Ok(())
    }

    /// The bootstrap list.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The consumer group that offsets are committed to.
    pub fn group(&self) -> String {
        self.get(Role::Consumer, "group.id").unwrap_or_default()
    }

    /// The value of a property for a client, whether from the user or from us. May be a secret.
    pub fn get(&self, role: Role, name: &str) -> Option<String> {
        self.client_config(role).get(name).map(str::to_string)
    }

    /// These settings for readers that must not see what has not been committed, whatever the user set.
    pub fn committed_only(&self) -> KafkaSettings {
        self.with_isolation("read_committed")
    }

    /// These settings for readers that see what has not been committed, too, whatever the user set.
    pub fn with_uncommitted(&self) -> KafkaSettings {
        self.with_isolation("read_uncommitted")
    }

    fn with_isolation(&self, level: &str) -> KafkaSettings {
        let mut settings = self.clone();
        settings.properties.push(Property {
            role: Some(Role::Consumer),
            name: "isolation.level".into(),
            value: level.into(),
        });
        settings
    }

    /// How long to wait at the start of a job for brokers to answer.
    pub fn startup_timeout(&self) -> Duration {
        self.startup_timeout
    }

    /// Waits otherwise at the start.
    pub fn with_startup_timeout(mut self, timeout: Duration) -> KafkaSettings {
        self.startup_timeout = timeout;
        self
    }

    /// The configuration of one client: our defaults, then the user's properties on top. Each client may `set` what
    /// only it can know, such as a transactional id.
    pub fn client_config(&self, role: Role) -> ClientConfig {
        let ours: &[(&str, &str)] = match role {
            Role::Consumer => &CONSUMER,
            Role::Producer => &PRODUCER,
            Role::Admin => &[],
        };
        let mut config = ClientConfig::new();
        // `ClientLog` decides what is worth a line.
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in COMMON.iter().chain(ours) {
            config.set(*name, *value);
        }
        for wanted in [None, Some(role)] {
            for property in self.properties.iter().filter(|property| property.role == wanted) {
                config.set(&property.name, &property.value);
            }
        }
        if role == Role::Admin {
            config.remove("group.id");
        }
        config
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KafkaSettings");
        shown.field("brokers", &self.brokers);
        for Property { role, name, value } in &self.properties {
            let prefix = role.map(|role| format!("{role:?}.")).unwrap_or_default();
            let value = if is_secret(name) { "(hidden)" } else { value };
            shown.field(&format!("{prefix}{name}"), &value);
        }
        shown.finish()
    }
}

/// Whether the value of a property must not be shown: better too often than once too little.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "key", "jaas", "token", "credential", "pem", "oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}

fn split(property: &str) -> Option<(&str, &str)> {
    let (name, value) = property.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name, value.trim()))
}
