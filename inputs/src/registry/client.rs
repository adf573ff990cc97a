//! Asks a registry for a schema and for what the schema refers to, one request after the other.

use super::address::{Address, Interface};
use super::schema::{Kind, Source};
use crate::decode::{Hyphenated, SchemaId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, with the connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How many other schemas one schema may refer to, by whatever way.
const REFERENCES_MAX: usize = 200;

/// What came of a question.
#[derive(Debug)]
pub(super) enum Found {
    Schema(Source),
    /// There is none of this id.
    Missing,
    /// There is one, and it cannot be used: why.
    Unusable(String),
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may come later: why it did not.
    Away(String),
    /// It will not, unless somebody changes something.
    Refused(String),
}

/// What can be used, or why it cannot.
type Usable<T> = Result<T, String>;

/// A connection to a registry.
pub(super) struct Client {
    agent: Agent,
    address: Address,
}

/// An answer with a body.
struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

/// A schema as Confluent's interface gives it.
#[derive(Deserialize)]
struct Registered {
    schema: String,
    #[serde(rename = "schemaType", default)]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// Another schema that a schema refers to, under a name: an import of Protobuf, a type of Avro.
#[derive(Deserialize)]
struct Reference {
    name: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    version: Version,
    #[serde(rename = "groupId", default)]
    group: Option<String>,
    #[serde(rename = "artifactId", default)]
    artifact: String,
}

/// A number with Confluent's interface, a text with Apicurio's.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Version {
    Number(i64),
    Text(String),
    #[default]
    None,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Number(number) => write!(f, "{number}"),
            Version::Text(text) => f.write_str(text),
            Version::None => Ok(()),
        }
    }
}

/// What an interface says when something is not there.
#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    error_code: i64,
    #[serde(default)]
    name: String,
}

impl Client {
    pub(super) fn new(address: Address) -> Client {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .http_status_as_error(false)
            // Where a login goes is said by the address that was given, and by nothing else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("deltacart/", env!("CARGO_PKG_VERSION")))
            .build();
        Client { agent: config.into(), address }
    }

    /// Asks for one schema.
    pub(super) fn find(&self, id: SchemaId) -> Result<Found, Failure> {
        let path = match (self.address.interface, id) {
            // Ids are positive numbers of 31 bits: what is none would be taken for a wrong address.
            (_, SchemaId::Content(id) | SchemaId::Global(id)) if id == 0 || id > i32::MAX as u64 => {
                return Ok(Found::Missing);
            }
            (Interface::Confluent, SchemaId::Content(id)) => format!("/schemas/ids/{id}"),
            (Interface::Confluent, SchemaId::Guid(id)) => format!("/schemas/guids/{}", Hyphenated(&id)),
            (Interface::Apicurio(_), SchemaId::Content(id)) => format!("/ids/contentIds/{id}"),
            (Interface::Apicurio(_), SchemaId::Global(id)) => format!("/ids/globalIds/{id}"),
            (Interface::Confluent, SchemaId::Global(_)) => {
                return Ok(Found::Unusable(
                    "the record names it by Apicurio's global id, which only Apicurio's own interface knows: \
                     --schema-registry http://HOST/apis/registry/v2"
                        .to_owned(),
                ));
            }
            (Interface::Apicurio(_), SchemaId::Guid(_)) => return Ok(Found::Missing),
            (_, SchemaId::Glue(_)) => {
                return Ok(Found::Unusable(
                    "AWS Glue has an interface of its own: save the schema in a folder, and name that as \
                     --schema-registry"
                        .to_owned(),
                ));
            }
        };
        let answer = self.get(&path)?;
        match answer.status {
            200 => {}
            404 if self.knows_no_such(&answer)? => return Ok(Found::Missing),
            status => return Ok(Found::Unusable(format!("the registry answers {status}"))),
        }
        let (mut source, references) = match self.read(answer, &path)? {
            Ok(read) => read,
            Err(unusable) => return Ok(Found::Unusable(unusable)),
        };
        match self.follow(references)? {
            Ok(others) => source.others = others,
            Err(unusable) => return Ok(Found::Unusable(unusable)),
        }
        Ok(Found::Schema(source))
    }

    /// Fetches what a schema refers to, and what that refers to: each name once.
    fn follow(&self, references: Vec<Reference>) -> Result<Usable<Vec<(String, String)>>, Failure> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut left = VecDeque::from(references);
        let mut others = Vec::new();
        while let Some(reference) = left.pop_front() {
            if !names.insert(reference.name.clone()) {
                continue;
            }
            if others.len() == REFERENCES_MAX {
                return Ok(Err(format!("it refers to more than {REFERENCES_MAX} other schemas")));
            }
            let path = self.path_of(&reference);
            let answer = self.get(&path)?;
            if answer.status != 200 {
                let (name, status) = (reference.name, answer.status);
                return Ok(Err(format!("it refers to {name:?}, for which the registry answers {status}")));
            }
            match self.read(answer, &path)? {
                Ok((source, more)) => {
                    others.push((reference.name, source.text));
                    left.extend(more);
                }
                Err(unusable) => return Ok(Err(unusable)),
            }
        }
        Ok(Ok(others))
    }

    fn path_of(&self, reference: &Reference) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let version = encoded(&reference.version.to_string());
        match self.address.interface {
            Interface::Confluent => format!("/subjects/{}/versions/{version}", encoded(&reference.subject)),
            Interface::Apicurio(number) => {
                let group = encoded(reference.group.as_deref().unwrap_or("default"));
                let content = if number == 2 { "" } else { "/content" };
                let artifact = encoded(&reference.artifact);
                format!("/groups/{group}/artifacts/{artifact}/versions/{version}{content}")
            }
        }
    }

    /// The schema in an answer, and what it refers to.
    fn read(&self, answer: Answer, path: &str) -> Result<Usable<(Source, Vec<Reference>)>, Failure> {
        match self.address.interface {
            Interface::Confluent => Ok(Ok({
                let Ok(registered) = serde_json::from_str::<Registered>(&answer.body) else {
                    return Ok(Err("the registry's answer has no schema in it".to_owned()));
                };
                let kind = match registered.kind.as_deref() {
                    None | Some("AVRO") => Kind::Avro,
                    Some("PROTOBUF") => Kind::Protobuf,
                    Some("JSON") => Kind::Json,
                    Some(other) => return Ok(Err(format!("schemas of the type {other:?} are unknown here"))),
                };
                (Source { kind, text: registered.schema, others: Vec::new() }, registered.references)
            })),
            Interface::Apicurio(_) => {
                let kind = Kind::told_by(&answer.content_type, &answer.body);
                let references = self.get(&format!("{}/references", path.trim_end_matches("/content")))?;
                let references = match references.status {
                    200 => serde_json::from_str(&references.body).unwrap_or_default(),
                    _ => Vec::new(),
                };
                Ok(Ok((Source { kind, text: answer.body, others: Vec::new() }, references)))
            }
        }
    }

    /// Whether an answer that something is not there is about the schema. An address with a wrong path answers so to
    /// everything, and then no record is to be rejected.
    fn knows_no_such(&self, answer: &Answer) -> Result<bool, Failure> {
        let complaint: Complaint =
            serde_json::from_str(&answer.body).unwrap_or(Complaint { error_code: 0, name: String::new() });
        let is_sure = match self.address.interface {
            // No subject, no version, no schema.
            Interface::Confluent => (40401..=40403).contains(&complaint.error_code),
            Interface::Apicurio(_) => {
                complaint.name.ends_with("NotFoundException") && complaint.name != "NotFoundException"
            }
        };
        if is_sure {
            return Ok(true);
        }
        let known = match self.address.interface {
            Interface::Confluent => "/subjects",
            Interface::Apicurio(_) => "/system/info",
        };
        let is_registry = self.get(known)?.status == 200;
        if is_registry {
            return Ok(true);
        }
        let base = &self.address.base;
        Err(Failure::Refused(format!(
            "what answers at {base} is no schema registry (404 for {known}): is a path missing, such as \
             /apis/ccompat/v7?"
        )))
    }

    fn get(&self, path: &str) -> Result<Answer, Failure> {
        let base = &self.address.base;
        let mut request = self.agent.get(format!("{base}{path}"));
        request =
            request.header("Accept", "application/vnd.schemaregistry.v1+json, application/json, */*;q=0.5");
        if let Some(authorization) = &self.address.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(away)?;
        let status = response.status().as_u16();
        match status {
            401 | 403 => {
                return Err(Failure::Refused(format!(
                    "the schema registry at {base} refuses the login ({status}): check the user and the password in \
                     --schema-registry or --schema-registry-login"
                )));
            }
            300..=399 => {
                return Err(Failure::Refused(format!(
                    "the schema registry at {base} says that it is elsewhere ({status}): give the address that it \
                     leads to"
                )));
            }
            408 | 429 | 500.. => return Err(Failure::Away(format!("it answers {status}"))),
            _ => {}
        }
        let content_type = response.body().mime_type().unwrap_or_default().to_owned();
        let body =
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string();
        Ok(Answer { status, content_type, body: body.map_err(away)? })
    }
}

/// What went wrong on the way, in the words of the system: the address is said by whoever tells it.
fn away(error: ureq::Error) -> Failure {
    Failure::Away(match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
        ureq::Error::HostNotFound => "its host is unknown".to_owned(),
        other => other.to_string(),
    })
}
