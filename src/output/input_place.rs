//! The input partition of an event, as records of logs name it: a topic and its partition, or a file.

use deltacart_dataflows::Partition;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An input stream, as records of logs name it.
#[derive(Clone, Debug)]
pub(crate) enum InputOrigin {
    /// A topic, with its id where that is known.
    Topic { name: String, id: Option<String> },
    /// The paths of files, each of which is a partition.
    Files(Vec<String>),
}

/// The input streams of a job, by number.
#[derive(Clone, Debug)]
pub(crate) struct InputOrigins(Vec<InputOrigin>);

/// The fields that name an input partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InputPlace<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    topic_id: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    file: Option<Cow<'a, str>>,
    partition: u32,
}

/// The worker that publishes what concerns an input partition, modulo the number of workers.
pub(super) fn publisher_of(partition: Partition) -> u64 {
    u64::from(partition.stream()) + u64::from(partition.number())
}

impl InputOrigins {
    /// The streams in the order of their numbers.
    pub(crate) fn new(origins: Vec<InputOrigin>) -> InputOrigins {
        InputOrigins(origins)
    }

    /// The fields that name a partition.
    pub(super) fn place(&self, partition: Partition) -> InputPlace<'_> {
        let mut place = InputPlace { topic: None, topic_id: None, file: None, partition: partition.number() };
        match self.0.get(usize::from(partition.stream())) {
            Some(InputOrigin::Topic { name, id }) => {
                place.topic = Some(name.into());
                place.topic_id = id.as_ref().map(Into::into);
            }
            Some(InputOrigin::Files(paths)) => {
                place.file = paths.get(partition.number() as usize).map(Into::into);
            }
            None => {}
        }
        place
    }

    /// The partition that a record names. `None` if the job does not read it.
    pub(super) fn partition(&self, place: &InputPlace<'_>) -> Option<Partition> {
        let of_origin = |origin: &InputOrigin| match (origin, &place.topic, &place.file) {
            (InputOrigin::Topic { name, id }, Some(topic), None) => {
                // A topic that was deleted and created again has other offsets under the same name.
                let is_other = matches!((id, &place.topic_id), (Some(now), Some(then)) if now != then);
                (name == topic && !is_other).then_some(place.partition)
            }
            (InputOrigin::Files(paths), None, Some(file)) => {
                paths.iter().position(|path| path == file).map(|number| number as u32)
            }
            _ => None,
        };
        let found = (0..=u8::MAX).zip(&self.0).find_map(|(stream, it)| Some((stream, of_origin(it)?)));
        found.and_then(|(stream, number)| Partition::new(stream, number))
    }
}
