//! Errors of Kafka in words for the person on call: what is wrong, with what, and which setting to change.

use super::settings::{KafkaSettings, Role, is_secret};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// One lower-case sentence about `error`, which came up while using `topic`, if it was about a topic. `cause` is what
/// a [`ClientLog`](super::ClientLog) heard. No value of a property that may be secret appears in it.
pub fn describe(
    error: &KafkaError,
    settings: &KafkaSettings,
    topic: Option<&str>,
    cause: Option<&str>,
) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => describe_property(name, reason),
        KafkaError::ClientCreation(reason) => describe_creation(reason),
        _ => match error.rdkafka_error_code() {
            Some(code) => describe_code(error, code, &Words::new(settings, topic, cause)),
            None => format!("kafka at {}: {error}{}", settings.brokers(), in_brackets(cause)),
        },
    }
}

/// What messages are put together from.
struct Words<'a> {
    brokers: &'a str,
    /// `topic carts`, or `the topic` where none is known.
    topic: String,
    /// ` to the user alice`, or nothing.
    to_user: String,
    group: String,
    /// ` (connection refused)`, or nothing.
    cause: String,
}

impl<'a> Words<'a> {
    fn new(settings: &'a KafkaSettings, topic: Option<&str>, cause: Option<&str>) -> Words<'a> {
        let user = settings.get(Role::Admin, "sasl.username");
        Words {
            brokers: settings.brokers(),
            topic: topic.map_or("the topic".into(), |topic| format!("topic {topic}")),
            to_user: user.map_or(String::new(), |user| format!(" to the user {user}")),
            group: settings.group(),
            cause: in_brackets(cause),
        }
    }
}

fn describe_code(error: &KafkaError, code: Code, words: &Words<'_>) -> String {
    let Words { brokers, topic, to_user, group, cause } = words;
    match code {
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicId => {
            format!("{topic} does not exist at {brokers}: create it, or check its name")
        }
        Code::InvalidTopic => {
            format!(
                "{topic} has a name that Kafka does not allow: letters, digits, '.', '_' and '-' only, at most 249"
            )
        }
        Code::TopicAuthorizationFailed => {
            format!(
                "no permission for {topic} at {brokers}: grant READ (to write: WRITE) and DESCRIBE on it{to_user}"
            )
        }
        Code::GroupAuthorizationFailed => format!(
            "no permission for the consumer group {group} at {brokers}: grant READ on it{to_user}, \
             or choose another with -X group.id=NAME"
        ),
        Code::ClusterAuthorizationFailed => {
            format!(
                "no permission at {brokers} to do this to {topic}: grant CREATE on the cluster or on it{to_user}"
            )
        }
        Code::TransactionalIdAuthorizationFailed => {
            format!(
                "no permission for the transactional id at {brokers}: grant WRITE and DESCRIBE on it{to_user}"
            )
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => format!(
            "{brokers} refuses the login{to_user}{cause}: check -X sasl.username, sasl.password, sasl.mechanisms \
             and security.protocol"
        ),
        Code::SSL => format!(
            "no TLS connection to {brokers}{cause}: check -X security.protocol, ssl.ca.location and the ssl.* \
             properties of the client's certificate"
        ),
        Code::OperationTimedOut if matches!(error, KafkaError::ConsumerCommit(_)) => {
            format!("{brokers} has not confirmed the offsets of the consumer group {group} in time{cause}")
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut => {
            format!("no broker answers at {brokers}{cause}: check -b/--brokers and -X security.protocol")
        }
        Code::LeaderNotAvailable => {
            format!("{topic} has a partition without a leader at {brokers}: the broker that holds it is down")
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => format!(
            "{topic} no longer holds the records to be read next: retention has removed them, or the topic was \
             created again; start with --from beginning to read what is left, and lengthen the topic's retention.ms"
        ),
        Code::UnknownMemberId | Code::IllegalGeneration | Code::FencedInstanceId => format!(
            "the consumer group {group} at {brokers} has members of its own, so it cannot take this job's offsets: \
             choose another with -X group.id=NAME"
        ),
        Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch => {
            format!("another run of this job has taken over writing to {topic}: only one may write")
        }
        _ => format!("{topic} at {brokers}: {error}{cause}"),
    }
}

fn describe_property(name: &str, reason: &str) -> String {
    if lacks_tls(reason) {
        return format!(
            "the property {name} needs TLS, which this build is without: build with --features tls"
        );
    }
    // librdkafka's sentence may repeat the value.
    let reason =
        if is_secret(name) { "its value is not accepted" } else { reason.trim().trim_end_matches('.') };
    format!("the property {name} cannot be set: {reason}; check -X/--property and -F/--properties-file")
}

fn describe_creation(reason: &str) -> String {
    if reason.contains("GSSAPI") {
        // What librdkafka takes when no mechanism is named.
        return "the SASL mechanism GSSAPI (Kerberos) is not in this build: name another, as in \
                -X sasl.mechanisms=PLAIN"
            .into();
    }
    if lacks_tls(reason) {
        return format!(
            "these properties need TLS, which this build is without: build with --features tls ({reason})"
        );
    }
    format!("the properties do not go together: {reason}; check -X/--property and -F/--properties-file")
}

fn lacks_tls(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("openssl") || reason.contains("ssl support") || reason.contains("recompile")
}

fn in_brackets(cause: Option<&str>) -> String {
    cause.filter(|cause| !cause.is_empty()).map_or(String::new(), |cause| format!(" ({cause})"))
}
