//! Where commands read published lists from: topics and files.

use crate::cli::KafkaArgs;
use anyhow::Result;
use deltacart_inputs::file::{FileParams, FileSource, Framing, Tables};
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource};
use deltacart_inputs::{Share, Source};
use std::path::PathBuf;

/// The most bytes of a record of a list that is read.
const LIST_BYTES_MAX: usize = 16 << 20;

/// The brokers and properties that the flags set.
///
/// # Errors
/// When a property is not accepted, or the properties file cannot be read.
pub fn kafka(args: &KafkaArgs) -> Result<KafkaSettings> {
    let mut settings =
        KafkaSettings::from_flags(args.brokers.as_deref(), &args.properties_file, &args.property)?;
    if let Some(group) = &args.group {
        settings.set("group.id", group)?;
    }
    Ok(settings.with_startup_timeout(args.startup_timeout.0))
}

/// The lists in a file, as they are now.
pub(super) fn list_file(path: &str) -> Result<Box<dyn Source>> {
    let (share, progress) = (Share::WHOLE, Default::default());
    let (framing, tables, record_bytes_max) = (Framing::Lines, Tables::Refused, LIST_BYTES_MAX);
    let params = FileParams { framing, tables, record_bytes_max, share, progress };
    Ok(Box::new(FileSource::new(&[PathBuf::from(path)], params)?))
}

/// The lists in a topic.
pub(super) fn list_topic(kafka: &KafkaSettings, topic: &str, until_end: bool) -> Result<Box<dyn Source>> {
    let params = KafkaParams { until_end, ..KafkaParams::whole(topic, LIST_BYTES_MAX) };
    Ok(Box::new(KafkaSource::new(kafka, params)?))
}
