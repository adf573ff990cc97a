//! From the `--input` flags of `run` to the streams of a job.

use crate::cli::{DecodeArgs, InputArg, Place, RunArgs, Secretive};
use crate::job::{Input, Stream, Streams};
use anyhow::{Context, Result, bail, ensure};
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::registry::Registry;
use deltacart_inputs::{Columns, DecodeOptions, FieldPaths, Format};
use std::path::PathBuf;

/// The streams that the inputs describe. Each topic is a stream, and all files with the same settings are one stream.
pub(super) fn streams(args: &RunArgs) -> Result<Streams> {
    let mut streams: Vec<(&InputArg, Stream)> = Vec::new();
    for input in &args.input {
        let path = match &input.place {
            Place::File(path) => PathBuf::from(path),
            Place::Topic(name) => {
                let topic = Input::Topic {
                    name: name.clone(),
                    from: args.from,
                    until_end: args.until_end,
                    metadata_refresh: args.metadata_refresh.0,
                };
                streams.push((input, Stream { input: topic, decode: decode(args, input)? }));
                continue;
            }
        };
        let same = streams.iter_mut().filter(|(other, _)| other.settings == input.settings);
        let paths = same.filter_map(|(_, stream)| match &mut stream.input {
            Input::Files(paths) => Some(paths),
            Input::Topic { .. } => None,
        });
        match paths.last() {
            Some(paths) => paths.push(path),
            None => {
                let files = Input::Files(vec![path]);
                streams.push((input, Stream { input: files, decode: decode(args, input)? }));
            }
        }
    }
    let mut streams: Vec<Stream> = streams.into_iter().map(|(_, stream)| stream).collect();
    share_registry(args, &mut streams)?;
    let streams = Streams::new(streams)?;
    warn_of_future(args.from);
    stdin_once(&streams)?;
    Ok(streams)
}

/// The client of the schema registry, if `--schema-registry` is set.
fn registry(args: &RunArgs) -> Result<Option<Registry>> {
    let Some(Secretive(place)) = &args.schema_registry else { return Ok(None) };
    let registry = Registry::new(place, args.schema_registry_login.as_deref())?;
    Ok(Some(registry))
}

/// Gives the client of the schema registry to each topic whose values schemas may describe. All of them share one
/// client.
fn share_registry(args: &RunArgs, streams: &mut [Stream]) -> Result<()> {
    let registry = registry(args)?;
    if registry.is_none() {
        return Ok(());
    }
    ensure!(
        streams.iter().any(|stream| stream.topic().is_some()),
        "--schema-registry goes with topics: a line of a file has no schema's id"
    );
    let is_described = |stream: &Stream| {
        let is_json =
            matches!(stream.decode.format, Format::Json | Format::Ga4 | Format::Segment | Format::Snowplow);
        is_json && stream.topic().is_some()
    };
    let mut described = streams.iter_mut().filter(|stream| is_described(stream)).peekable();
    ensure!(
        described.peek().is_some(),
        "--schema-registry does not go with --format {}: schemas describe the events of json, ga4, segment and snowplow",
        args.decode.format.name()
    );
    for stream in described {
        stream.decode.registry.clone_from(&registry);
        stream.decode.decoder()?;
    }
    Ok(())
}

/// Warns if `--from` lies in the future: then the records that a topic holds now are not read.
fn warn_of_future(from: StartFrom) {
    let StartFrom::Timestamp(from) = from else { return };
    let time = jiff::Timestamp::from_millisecond(from).unwrap_or(jiff::Timestamp::MAX);
    if time > jiff::Timestamp::now() {
        tracing::warn!(
            "--from {time} is in the future: what the topic holds now is not read, only what comes"
        );
    }
}

/// Refuses standard input in two streams. If one stream names it twice, that is found when its files are opened.
fn stdin_once(streams: &Streams) -> Result<()> {
    let named = streams.iter().filter(|(_, stream)| match &stream.input {
        Input::Files(paths) => paths.iter().any(|path| path.as_os_str() == "-"),
        Input::Topic { .. } => false,
    });
    ensure!(named.count() < 2, "--input names standard input twice");
    Ok(())
}

/// The options with which the records of an input are decoded. Its own settings override the flags.
fn decode(args: &RunArgs, input: &InputArg) -> Result<DecodeOptions> {
    let mut decode = decode_flags(&args.decode);
    decode.duplicate_horizon = args.duplicate_horizon;
    decode.repeated_orders = args.repeated_orders;
    decode.tombstones = args.tombstones;
    decode.views = args.evidence.has_views();
    decode.limits.quantity_decimals = args.quantity_decimals;
    decode.limits.record_bytes_max = args.max_record_bytes;
    decode.limits.part_rejects_max = args.max_letters_per_record.get();
    ensure!(args.max_record_bytes > 0, "--max-record-bytes must be at least 1");
    with_own(decode, input)
}

/// The options that the flags of decoding set.
pub(super) fn decode_flags(args: &DecodeArgs) -> DecodeOptions {
    let mut decode = DecodeOptions::new(args.format);
    decode.basket = args.basket.clone();
    decode.columns = args.columns.clone().unwrap_or_default();
    decode.event_names = args.event_names.clone().unwrap_or_default();
    decode.fields = args.fields.clone().unwrap_or_default();
    decode.delimiter = args.delimiter;
    decode.null_words = args.null_words.clone();
    decode.time_format = args.time_format.clone();
    decode
}

/// The options with the settings of an input in place of those that it has of its own.
pub(super) fn with_own(mut decode: DecodeOptions, input: &InputArg) -> Result<DecodeOptions> {
    let of_input = || format!("--input {input}");
    for (name, value) in &input.settings {
        set_own(&mut decode, name, value).with_context(of_input)?;
    }
    // The decoder is created here to find contradictions now, instead of in a worker.
    let checked = decode.decoder();
    if input.settings.is_empty() {
        checked?;
    } else {
        checked.with_context(of_input)?;
    }
    Ok(decode)
}

/// Applies one setting of an input to its options.
fn set_own(decode: &mut DecodeOptions, name: &str, value: &str) -> Result<()> {
    match name {
        "format" => {
            decode.format = value.parse()?;
            // `--columns` is meant for the CSV inputs, and `--fields` for the formats with fields. Other formats
            // ignore them.
            if decode.format != Format::Csv {
                decode.columns = Columns::default();
            }
            if !matches!(decode.format, Format::Json | Format::Shopify | Format::WooCommerce) {
                decode.fields = FieldPaths::default();
            }
        }
        "basket" => decode.basket = value.parse()?,
        "columns" => decode.columns = value.parse()?,
        "fields" => decode.fields = value.parse()?,
        "event-names" => decode.event_names = value.parse()?,
        "delimiter" => decode.delimiter = value.parse()?,
        "repeated-orders" => decode.repeated_orders = value.parse()?,
        "tombstones" => decode.tombstones = value.parse()?,
        _ => bail!("an input has no {name} of its own"),
    }
    Ok(())
}
