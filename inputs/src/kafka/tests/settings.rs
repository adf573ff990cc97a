//! Flags to configurations, start positions, and messages about properties: no broker needed.

use super::*;
use std::path::PathBuf;

fn from_flags(
    brokers: Option<&str>,
    file: &str,
    properties: &[&str],
) -> Result<KafkaSettings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.properties");
    std::fs::write(&path, file).unwrap();
    let properties: Vec<String> = properties.iter().map(|property| property.to_string()).collect();
    KafkaSettings::from_flags(brokers, &[path], &properties)
}

#[test]
fn requests_leave_at_once_unless_the_user_says_otherwise() {
    let ours = KafkaSettings::new("b:1");
    let theirs =
        from_flags(Some("b:1"), "linger.ms=20\n", &["socket.nagle.disable=false", "fetch.wait.max.ms=500"])
            .unwrap();
    for (role, name, our, their) in [
        (Role::Consumer, "socket.nagle.disable", "true", "false"),
        (Role::Producer, "socket.nagle.disable", "true", "false"),
        (Role::Admin, "socket.nagle.disable", "true", "false"),
        (Role::Producer, "linger.ms", "1", "20"),
        (Role::Consumer, "fetch.wait.max.ms", "50", "500"),
    ] {
        assert_eq!(ours.get(role, name).as_deref(), Some(our), "{role:?} {name}");
        assert_eq!(theirs.get(role, name).as_deref(), Some(their), "{role:?} {name}");
    }
}

#[test]
fn the_users_properties_stand_on_top_of_ours() {
    let file = "# where\nbootstrap.servers = file:1\n! and how\n\nfetch.wait.max.ms=7\nconsumer.client.rack=a\nproducer.acks=1\n";
    let settings =
        from_flags(None, file, &["fetch.wait.max.ms=8", "client.rack=b", "queue.buffering.max.ms=1"])
            .unwrap();
    let value = |role, name: &str| settings.client_config(role).get(name).map(str::to_string);
    assert_eq!(settings.brokers(), "file:1");
    assert_eq!(value(Role::Consumer, "bootstrap.servers").as_deref(), Some("file:1"));
    assert_eq!(value(Role::Consumer, "fetch.wait.max.ms").as_deref(), Some("8"), "-X comes after -F");
    assert_eq!(value(Role::Consumer, "client.rack").as_deref(), Some("a"), "a prefix wins");
    assert_eq!(value(Role::Admin, "client.rack").as_deref(), Some("b"));
    assert_eq!(value(Role::Producer, "acks").as_deref(), Some("1"));
    assert_eq!(value(Role::Consumer, "acks"), None);
    assert_eq!(value(Role::Producer, "linger.ms").as_deref(), Some("1"), "by its second name");
    assert_eq!(value(Role::Producer, "queue.buffering.max.ms"), None);
    assert_eq!(value(Role::Consumer, "isolation.level").as_deref(), Some("read_committed"));
    assert_eq!((settings.group().as_str(), value(Role::Admin, "group.id")), ("deltacart", None));
    assert_eq!(from_flags(Some("flag:1"), file, &[]).unwrap().brokers(), "flag:1");
    assert_eq!(from_flags(None, "", &["metadata.broker.list=x:1"]).unwrap().brokers(), "x:1");
}

#[test]
fn flags_that_cannot_be_understood() {
    let message =
        |brokers, file, properties: &[&str]| from_flags(brokers, file, properties).unwrap_err().to_string();
    assert_eq!(message(None, "", &[]), "no broker is named: give -b/--brokers host:port");
    let forgotten = message(Some("b:1"), "", &["a=1", "hunter2"]);
    assert_eq!(forgotten, "property 2 of -X/--property is not of the form name=value");
    assert!(
        message(Some("b:1"), "a=1\n=2", &[])
            .ends_with("client.properties, line 2: not of the form name=value")
    );
    let reserved = message(Some("b:1"), "", &["consumer.enable.auto.commit=true"]);
    assert!(reserved.contains("enable.auto.commit must be false"), "{reserved}");
    from_flags(Some("b:1"), "enable.auto.commit=false", &[]).unwrap();
    for (property, value) in
        [("allow.auto.create.topics=true", "false"), ("partitioner=random", "murmur2_random")]
    {
        let reserved = message(Some("b:1"), "", &[property]);
        assert!(reserved.contains(&format!(" must be {value} ")), "{reserved}");
    }
    let missing = KafkaSettings::from_flags(None, &[PathBuf::from("no/such/file")], &[]).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read the properties file no/such/file");
}

#[test]
fn secrets_are_never_shown() {
    let mut settings = KafkaSettings::new("b:1");
    for name in
        ["sasl.password", "ssl.key.pem", "consumer.sasl.oauthbearer.client.secret", "sasl.jaas.config"]
    {
        settings.set(name, "hunter2").unwrap();
    }
    settings.set("sasl.username", "alice").unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("alice") && shown.contains("sasl.password"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    for name in ["sasl.jaas.config", "ssl.key.password.typo", "ssl.keystore.type"] {
        let mut settings = KafkaSettings::new("b:1");
        settings.set(name, "hunter2").unwrap();
        let (message, _) = refusal(&settings, params("topic"));
        assert!(message.contains(name) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn properties_that_librdkafka_refuses_are_named() {
    let message = |name: &str, value: &str| {
        let mut settings = KafkaSettings::new("b:1");
        settings.set(name, value).unwrap();
        refusal(&settings, params("topic")).0
    };
    let unknown = message("fetch.wait.max.millis", "5");
    assert!(unknown.contains("fetch.wait.max.millis") && unknown.contains("No such"), "{unknown}");
    let wrong = message("fetch.wait.max.ms", "soon");
    assert!(wrong.contains("fetch.wait.max.ms") && wrong.contains("-X"), "{wrong}");
    let unnamed = message("security.protocol", "SASL_PLAINTEXT");
    assert!(unnamed.contains("-X sasl.mechanisms=PLAIN"), "{unnamed}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_in_a_build_without_it_says_how_to_build() {
    for (name, value) in [
        ("security.protocol", "SSL"),
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", "/etc/ssl/ca.pem"),
        ("sasl.mechanisms", "SCRAM-SHA-256"),
    ] {
        let mut settings = KafkaSettings::new("b:1");
        settings.set(name, value).unwrap();
        if name == "sasl.mechanisms" {
            settings.set("security.protocol", "SASL_PLAINTEXT").unwrap();
        }
        let (message, _) = refusal(&settings, params("topic"));
        assert!(message.contains("--features tls"), "{name}={value}: {message}");
    }
}

#[test]
fn start_positions() {
    for (text, from) in [
        ("beginning", StartFrom::Beginning),
        ("end", StartFrom::End),
        ("committed", StartFrom::Committed),
        ("0", StartFrom::Timestamp(0)),
        ("1767225600123", StartFrom::Timestamp(1_767_225_600_123)),
        ("2026-01-01T00:00:00Z", StartFrom::Timestamp(1_767_225_600_000)),
        ("2026-01-01T01:00:00.5+01:00", StartFrom::Timestamp(1_767_225_600_500)),
    ] {
        assert_eq!(text.parse::<StartFrom>().unwrap(), from);
    }
    for text in ["", "start", "-5", "2026-01-01", "1e9", "1970-01-01T00:00:00"] {
        let message = text.parse::<StartFrom>().unwrap_err().to_string();
        assert!(message.contains(&format!("{text:?} is no start position")), "{message}");
    }
}
