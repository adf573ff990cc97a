//! Refuses flags that were typed but have no effect, and says what they go with.
//!
//! A user who types a flag expects an effect. If it would have none, the command reports an error and does not start.

use crate::cli::{
    DeliveryKind, EvaluateArgs, GenerateArgs, Given, OnOff, Place, Recommend, RunArgs, ServeArgs, TopArgs,
};
use crate::outputs::Outputs;
use crate::parquet_output::is_parquet;
use anyhow::{Result, bail};
use deltacart_dataflows::Measure;
use deltacart_inputs::Format;

/// A condition that flags need in order to have an effect. The flags are given by the names of their fields.
struct Need {
    flags: &'static [&'static str],
    is_met: bool,
    /// The description of the condition, for the message.
    what: &'static str,
}

/// The flags of the Kafka client.
const KAFKA: &[&str] = &["brokers", "property", "properties_file", "startup_timeout"];

/// The flags of answers.
const ANSWERS: &[&str] = &[
    "answer_by",
    "exclude",
    "answer_items",
    "position_decay",
    "combine",
    "recent",
    "neighbours",
    "match_decay",
    "match_idf",
    "idf",
    "own_lines",
    "own_half_life",
    "blend",
];

/// Refuses flags of `run` that have no effect.
pub(super) fn check_run(args: &RunArgs, outputs: &Outputs) -> Result<()> {
    let is_topic = |place: &Place| matches!(place, Place::Topic(_));
    let is_file = |place: &Place| matches!(place, Place::File(_));
    let reads_topic = args.input.iter().any(|input| is_topic(&input.place));
    let writes_topic = outputs.topics().next().is_some();
    let writes_file = outputs.iter().any(|(_number, stream)| stream.file().is_some());
    let letters_to_topic = args.dead_letter.as_ref().is_some_and(is_topic);
    let letters_to_file = args.dead_letter.as_ref().is_some_and(is_file);
    let is_exactly_once = args.delivery == DeliveryKind::ExactlyOnce;
    // `-n 1` counts as a cluster: all processes may be started from one template that sets the flags of clusters.
    let is_cluster = args.processes.get() > 1 || args.given.has("processes");
    let cuts_by_count =
        args.epoch_events.is_some() || (!reads_topic && args.epoch.is_none() && !reads_stdin(args));
    // An input with its own settings may have another format, so its events may have names.
    let has_event_names = !matches!(args.decode.format, Format::Fimi | Format::OnlineRetail)
        || args.input.iter().any(|input| !input.settings.is_empty());
    let kafka_place = if hints_at_topic(args) { NO_TOPIC_HINT } else { "a topic, kafka:TOPIC" };
    let needs = [
        Need { flags: KAFKA, is_met: reads_topic || writes_topic || letters_to_topic, what: kafka_place },
        Need {
            flags: &["from", "until_end", "metadata_refresh", "group"],
            is_met: reads_topic,
            what: "an --input that is a topic; a file is read from its beginning to its end",
        },
        Need {
            flags: &["output_partitions"],
            is_met: writes_topic || letters_to_topic,
            what: "an output that is a topic",
        },
        Need { flags: &["delivery"], is_met: writes_topic, what: "an output that is a topic" },
        Need {
            flags: &["job", "slots"],
            is_met: writes_topic && is_exactly_once,
            what: "an output that is a topic, with --delivery exactly-once",
        },
        Need {
            flags: &["max_letters_per_record"],
            is_met: args.dead_letter.is_some(),
            what: "--dead-letter",
        },
        Need {
            flags: &["overwrite"],
            is_met: writes_file || letters_to_file,
            what: "an output that is a file",
        },
        Need { flags: &["score_digits"], is_met: args.scores == OnOff::On, what: "--scores on" },
        Need { flags: &["event_names"], is_met: has_event_names, what: "a --format whose events have names" },
        Need {
            flags: &["max_epoch_events", "max_epoch_bytes"],
            is_met: !cuts_by_count,
            what: "--epoch; an epoch of so many records is bounded by them",
        },
        Need {
            flags: &["on_expired"],
            is_met: reads_topic,
            what: "an --input that is a topic; a file does not expire",
        },
        Need {
            flags: &["hostfile", "listen", "cluster_secret_file", "join_timeout", "peer_timeout"],
            is_met: is_cluster,
            what: "a cluster of processes: -n",
        },
    ];
    check(&args.given, &needs)?;
    check_records(args, outputs)?;
    check_computed(args)
}

/// Refuses flags about records that have no effect, because the lists go to a Parquet file.
fn check_records(args: &RunArgs, outputs: &Outputs) -> Result<()> {
    let what = "an --output of records; a Parquet file has the lists at the end of the run";
    let writes_parquet = matches!(&args.output, Place::File(path) if is_parquet(path));
    let writes_other_tables =
        outputs.iter().skip(1).any(|(_number, stream)| stream.content.table().is_some());
    let needs = [
        Need { flags: &["lists_every"], is_met: !writes_parquet, what },
        Need { flags: &["envelope"], is_met: !writes_parquet || writes_other_tables, what },
    ];
    check(&args.given, &needs)
}

/// Refuses flags about what is computed that have no effect: those of another measure, and of answers where nobody is
/// answered.
fn check_computed(args: &RunArgs) -> Result<()> {
    let serves = args.server.serve.is_some();
    let has_subjects = args.subjects.wants(Recommend::Carts) || args.subjects.wants(Recommend::Users);
    let needs = [
        Need {
            flags: &["alpha", "damping"],
            is_met: args.measure == Measure::Cosine,
            what: "--measure cosine",
        },
        Need {
            flags: ANSWERS,
            is_met: has_subjects || serves,
            what: "--recommend carts or users, or the questions of --serve",
        },
        Need {
            flags: &["open_for", "refresh", "refresh_max"],
            is_met: has_subjects,
            what: "--recommend carts or users",
        },
        Need {
            flags: &["serve_token_file", "serve_origin", "serve_connections", "serve_questions"],
            is_met: serves,
            what: "--serve",
        },
        Need {
            flags: &["output_carts", "k_carts", "carts_every", "prequential"],
            is_met: args.subjects.wants(Recommend::Carts),
            what: "--recommend carts",
        },
        Need {
            flags: &["predictions"],
            is_met: args.subjects.prequential.is_some(),
            what: "--prequential, the share of carts that are followed",
        },
        Need {
            flags: &["output_users", "k_users", "users_every"],
            is_met: args.subjects.wants(Recommend::Users),
            what: "--recommend users",
        },
    ];
    check(&args.given, &needs)
}

fn reads_stdin(args: &RunArgs) -> bool {
    args.input.iter().any(|input| input.place == Place::File("-".to_owned()))
}

/// Whether an input is a file that does not exist: perhaps a topic was meant, and `kafka:` was left out.
fn hints_at_topic(args: &RunArgs) -> bool {
    let is_missing = |place: &Place| match place {
        Place::File(path) => path != "-" && !std::path::Path::new(path).exists(),
        Place::Topic(_) => false,
    };
    args.input.iter().any(|input| is_missing(&input.place))
}

const NO_TOPIC_HINT: &str =
    "a topic, and there is none: the topic carts is written kafka:carts, as in --input kafka:carts";

/// Refuses flags of `generate` that have no effect.
pub(super) fn check_generate(args: &GenerateArgs) -> Result<()> {
    let writes_topic = matches!(args.output, Place::Topic(_));
    let needs = [
        Need { flags: KAFKA, is_met: writes_topic, what: "an --output that is a topic, kafka:TOPIC" },
        Need { flags: &["partitions"], is_met: writes_topic, what: "an --output that is a topic" },
        Need { flags: &["group"], is_met: false, what: "commands that read and commit, such as run" },
        Need { flags: &["overwrite"], is_met: !writes_topic, what: "an --output that is a file" },
    ];
    check(&args.given, &needs)
}

/// Refuses flags of `evaluate` that have no effect.
pub(super) fn check_evaluate(args: &EvaluateArgs) -> Result<()> {
    let protocol = args.protocol.as_str();
    let splits = matches!(protocol, "cart-completion" | "next-item" | "temporal");
    let needs = [
        Need {
            flags: &["split"],
            is_met: splits,
            what: "--protocol cart-completion, next-item and temporal",
        },
        Need {
            flags: &["min_baskets"],
            is_met: protocol == "leave-last-basket",
            what: "--protocol leave-last-basket",
        },
        Need {
            flags: &["epoch_events", "freshness"],
            is_met: protocol == "prequential",
            what: "--protocol prequential",
        },
        Need { flags: &["trials"], is_met: args.tune.is_some(), what: "--tune" },
        Need { flags: &["test"], is_met: protocol == "pair", what: "--protocol pair" },
        Need {
            flags: &["overwrite"],
            is_met: args.outputs().any(|(_flag, path)| path != "-"),
            what: "--json, --csv, --html or --export",
        },
    ];
    check(&args.given, &needs)
}

/// Refuses flags of `serve` that have no effect.
pub(super) fn check_serve(args: &ServeArgs) -> Result<()> {
    let places = [Some(&args.input), args.carts.as_ref(), args.users.as_ref()];
    let reads_topic = places.into_iter().flatten().any(|place| matches!(place, Place::Topic(_)));
    let needs = [
        Need { flags: KAFKA, is_met: reads_topic, what: "lists in a topic, kafka:TOPIC" },
        Need { flags: &["group"], is_met: false, what: "commands that read and commit, such as run" },
    ];
    check(&args.given, &needs)
}

/// Refuses flags of `top` that have no effect.
pub(super) fn check_top(args: &TopArgs) -> Result<()> {
    let reads_topic = matches!(args.input, Place::Topic(_));
    let needs = [
        Need { flags: KAFKA, is_met: reads_topic, what: "an --input that is a topic, kafka:TOPIC" },
        Need { flags: &["group"], is_met: false, what: "commands that read and commit, such as run" },
        Need {
            flags: &["limit", "sort"],
            is_met: args.item.is_none(),
            what: "several lists; --item shows one",
        },
        Need {
            flags: &["follow"],
            is_met: reads_topic || ends_later(&args.input),
            what: "a topic or a pipe; a file ends where it ends",
        },
    ];
    check(&args.given, &needs)
}

/// Whether a file may grow while it is read: a pipe, a device, standard input.
fn ends_later(place: &Place) -> bool {
    let Place::File(path) = place else { return false };
    path == "-" || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn check(given: &Given, needs: &[Need]) -> Result<()> {
    for Need { flags, is_met, what } in needs {
        let idle = flags.iter().find(|flag| given.has(flag));
        if let (Some(flag), false) = (idle, is_met) {
            bail!("{} has no effect: it goes with {what}", typed(flag));
        }
    }
    Ok(())
}

/// A flag as users type it, from the name of its field.
fn typed(field: &str) -> String {
    match field {
        "property" => "-X".to_owned(),
        "brokers" => "-b/--brokers".to_owned(),
        _ => format!("--{}", field.replace('_', "-")),
    }
}
