//! From flags to settings. Every error of a command line is found here, before anything runs.

mod effects;
mod evaluate;
mod inputs;
mod list_sources;
mod serve;
mod subjects;

pub use evaluate::{Evaluation, evaluate};
pub use list_sources::kafka;
pub use serve::{followed, replica, serve};

use crate::cli::{Cli, DeliveryKind, DemoArgs, GenerateArgs, OnOff, Place, RunArgs, Time, TopArgs};
use crate::cluster::{Secret, is_loopback};
use crate::demo::DemoOptions;
use crate::files::{ExistingFile, Written, refuse_lost_files};
use crate::generate::GenerateOptions;
use crate::job::{
    AheadLimits, Cluster, Cut, Delivery, Destination, Input, Job, Outputs, StateOptions, StatePlace, Stream,
    Streams, Timeouts, Verify,
};
use crate::output::{OutputOptions, RowKind, WORKER_SLOTS};
use crate::outputs::Content;
use crate::parquet_output;
use crate::top::TopOptions;
use anyhow::{Context, Result, bail, ensure};
use clap::CommandFactory;
use deltacart_dataflows::{ListParams, Params, Scoring};
use deltacart_inputs::Source;
use deltacart_inputs::generate::ShopSettings;
use list_sources::{list_file, list_topic};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;
use subjects::K_MAX;

/// The default `--epoch-events` where all inputs are files with an end: the records of each partition in one epoch.
const FILE_EPOCH_RECORDS: NonZeroU64 = NonZeroU64::new(10_000).expect("it is not zero");

/// The default `--epoch` of every other job: how long one epoch lasts.
const LIVE_EPOCH: Duration = Duration::from_millis(50);

/// The port of process 0 without a host file. Each further process has the next port.
const PORT: usize = 2101;

/// The least `--peer-timeout` and `--stall-timeout`: heartbeats and turns of workers are less punctual than that.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The environment variable that may hold the cluster secret instead of a file.
const SECRET_VARIABLE: &str = "DELTACART_CLUSTER_SECRET";

/// The job that the flags of `run` describe.
///
/// # Errors
/// When flags contradict each other, or a value is out of its range. The message names the flag.
pub fn job(args: RunArgs) -> Result<Job> {
    let outputs = outputs(&args);
    effects::check_run(&args, &outputs)?;
    let streams = inputs::streams(&args)?;
    let params = params(&args, &streams)?;
    let cluster = cluster(&args)?;
    let cut = cut(&args, &streams)?;
    let state = state(&args, &streams)?;
    let dead_letters = args.dead_letter.as_ref().map(destination);
    let has_topics = check_topics(&args, &outputs)?;
    check_parquet(&outputs, dead_letters.as_ref())?;
    let kafka = if has_topics { Some(kafka(&args.kafka)?) } else { None };
    let job = Job {
        streams,
        params,
        output_partitions: args.output_partitions.map(u32::from),
        dead_letters,
        cut,
        limits: AheadLimits {
            epochs: args.max_epochs_ahead.get(),
            epoch_events: args.max_epoch_events.get(),
            epoch_bytes: args.max_epoch_bytes.get(),
        },
        prequential: args.subjects.prequential,
        verify: match (args.verify_every, args.verify) {
            (Some(epochs), _) => Some(Verify::Every(epochs)),
            (None, true) => Some(Verify::AtEnd),
            (None, false) => None,
        },
        delivery: delivery(&args, &cluster, &outputs)?,
        outputs,
        existing: existing(&args),
        serving: serve::serving(&args),
        cluster,
        kafka,
        state,
    };
    job.check_files()?;
    Ok(job)
}

/// What happens to output files that exist already.
fn existing(args: &RunArgs) -> ExistingFile {
    match (&args.state, args.overwrite) {
        (Some(_), _) => ExistingFile::Resume,
        (None, true) => ExistingFile::Replace,
        (None, false) => ExistingFile::Refuse,
    }
}

/// The output streams that the flags name.
fn outputs(args: &RunArgs) -> Outputs {
    let records = OutputOptions {
        rows: RowKind::Item,
        envelope: args.envelope,
        scores: args.scores == OnOff::On,
        score_digits: args.score_digits,
    };
    let lists = Outputs::lists(destination(&args.output), records, args.lists_every.0);
    subjects::outputs(args, records, lists, destination)
        .with(Content::Notes, args.notes.as_ref().map(destination))
        .with(Content::Predictions, args.subjects.predictions.as_ref().map(destination))
}

/// Refuses Parquet where this build or the output has none.
fn check_parquet(outputs: &Outputs, dead_letters: Option<&Destination>) -> Result<()> {
    for (number, stream) in outputs.iter() {
        match stream.file() {
            Some(path) if number == 0 => parquet_output::check_output(path)?,
            Some(path) => parquet_output::check_lines(stream.content.flag(), path)?,
            None => {}
        }
    }
    match dead_letters {
        Some(Destination::File(path)) => parquet_output::check_lines("--dead-letter", path),
        _ => Ok(()),
    }
}

/// Refuses a topic that two flags name. Returns whether any flag names one.
///
/// A job that reads the topic that it writes never ends. A job that writes lists among dead letters cannot be started
/// again.
fn check_topics(args: &RunArgs, outputs: &Outputs) -> Result<bool> {
    let read = args.input.iter().map(|input| ("--input", input.place.topic()));
    let written = outputs.iter().map(|(_number, stream)| (stream.content.flag(), stream.topic()));
    let letters = args.dead_letter.iter().map(|place| ("--dead-letter", place.topic()));
    let mut flags = BTreeMap::new();
    for (flag, topic) in read.chain(written).chain(letters) {
        let Some(name) = topic else { continue };
        if let Some(first) = flags.insert(name, flag) {
            bail!("{first} and {flag} cannot both be kafka:{name}: give each a topic of its own");
        }
    }
    Ok(!flags.is_empty())
}

fn delivery(args: &RunArgs, cluster: &Cluster, outputs: &Outputs) -> Result<Delivery> {
    if args.delivery == DeliveryKind::AtLeastOnce {
        return Ok(Delivery::AtLeastOnce);
    }
    let workers = cluster.threads * cluster.addresses.len().max(1);
    let slots = args.slots.get();
    ensure!(
        slots as usize >= workers * WORKER_SLOTS || outputs.topics().next().is_none(),
        "--slots {slots} is fewer than {WORKER_SLOTS} for each of the {workers} workers: every run of the job is to \
         have the same, and enough"
    );
    ensure!(slots <= SLOTS_MAX, "--slots must be at most {SLOTS_MAX}: each is taken over at every start");
    // The default depends on the output alone: runs that write to one topic must fence each other, and no other runs.
    let job = args.job.clone().unwrap_or_else(|| match outputs.topics().next() {
        Some((_number, topic)) => format!("deltacart-{topic}"),
        None => "deltacart".to_owned(),
    });
    Ok(Delivery::ExactlyOnce { job, slots })
}

/// The most slots. It is enough for more workers than any cluster that the job is made for.
const SLOTS_MAX: u32 = 4096;

fn state(args: &RunArgs, streams: &Streams) -> Result<Option<StateOptions>> {
    let Some(place) = args.state.as_deref() else { return Ok(None) };
    for (_number, stream) in streams.iter() {
        match &stream.input {
            Input::Files(_) => ensure!(
                stream.is_bounded(),
                "--state needs an input that can be read again: files or a topic, not standard input"
            ),
            Input::Topic { .. } => ensure!(
                !stream.decode.decoder()?.needs_header(),
                "--state and a topic need columns by their places: its first record, with their names, may be gone; \
                 --columns basket=#1,item=#2"
            ),
        }
    }
    let place = state_place(place)?;
    Ok(Some(StateOptions { place, every: args.snapshot_every.0, on_expired: args.on_expired }))
}

/// The place of snapshots: a folder, or the URL of an object store.
///
/// A URL may contain a password by mistake, so no error message repeats the part behind the scheme.
fn state_place(path: &Path) -> Result<StatePlace> {
    let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
        return Ok(StatePlace::Folder(path.to_owned()));
    };
    match scheme {
        "file" => {
            ensure!(
                rest.starts_with('/') && !rest.contains(['%', '?', '#']),
                "--state file:// wants a path that begins with / and has no %, ? or #; or give the path by itself"
            );
            return Ok(StatePlace::Folder(rest.into()));
        }
        "s3" | "gs" | "az" => {}
        _ => bail!(
            "--state wants a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; {scheme}:// is \
             none of them"
        ),
    }
    ensure!(
        !rest.contains(['@', '?', '#', '%']),
        "--state {scheme}://… has no credentials and no options in it: they come from the environment, see \
         docs/snapshots.md; @, ?, # and % are not accepted"
    );
    let bucket = rest.split('/').next().unwrap_or_default();
    ensure!(
        !bucket.is_empty() && !bucket.contains(':'),
        "--state {scheme}:// wants the name of a bucket behind it"
    );
    ensure!(
        cfg!(feature = "object-store"),
        "--state {scheme}://… needs a build with --features object-store; this one keeps snapshots in folders only"
    );
    Ok(StatePlace::Bucket(format!("{scheme}://{rest}")))
}

/// The address at which `run` serves metrics, if it serves them.
///
/// # Errors
/// When the address cannot be resolved.
pub fn metrics(args: &RunArgs) -> Result<Option<SocketAddr>> {
    args.metrics.as_ref().map(|listen| serve::address("--metrics", listen)).transpose()
}

fn params(args: &RunArgs, streams: &Streams) -> Result<Params> {
    ensure!((0.0..=1.0).contains(&args.alpha), "--alpha must be from 0 to 1");
    ensure!(args.damping >= 0.0 && args.damping.is_finite(), "--damping must be at least 0");
    let scoring = Scoring {
        measure: args.measure,
        alpha: args.alpha,
        damping: args.damping,
        min_count: args.min_count.get(),
        digits: args.score_digits,
    };
    let lists = ListParams { k: args.top_k.get(), scoring, scores: args.scores == OnOff::On };
    ensure!(lists.k <= K_MAX, "--top-k must be at most {K_MAX}");
    Ok(Params {
        algorithm: args.engine,
        lists,
        basket_items_max: args.max_basket_items.get(),
        basket_idle: basket_idle(args, streams)?,
        item_baskets_max: args.max_item_baskets,
        evidence: args.evidence,
        open_for: subjects::open_for(args)?,
        answers: subjects::answers(args)?,
    })
}

/// The time after which a basket without events is forgotten, if `--basket-idle` sets one.
fn basket_idle(args: &RunArgs, streams: &Streams) -> Result<Option<NonZeroU64>> {
    let Some(Time(idle)) = args.basket_idle else { return Ok(None) };
    let has_times = |stream: &Stream| stream.topic().is_some() || stream.decode.has_times();
    ensure!(
        streams.iter().all(|(_number, stream)| has_times(stream)),
        "--basket-idle goes by the times of events, and the records have none: add time=… to --columns"
    );
    let idle = u64::try_from(idle.as_millis()).ok().and_then(NonZeroU64::new);
    Ok(Some(idle.context("--basket-idle must be at least 1ms")?))
}

fn cut(args: &RunArgs, streams: &Streams) -> Result<Cut> {
    let serves = args.server.serve.is_some();
    match (args.epoch_events, args.epoch) {
        (Some(_), _) if serves => bail!("--serve has questions, which wait for no count of records: --epoch"),
        // A partition without records would hold up its epoch, and with it all lists.
        (Some(_), _) if !streams.is_bounded() => {
            bail!("--epoch-events needs an input that ends: files, or a topic with --until-end")
        }
        (Some(records), _) => Ok(Cut::Records(records)),
        (None, Some(tick)) => Ok(Cut::Tick(tick.0)),
        (None, None) if streams.is_files() && streams.is_bounded() && !serves => {
            Ok(Cut::Records(FILE_EPOCH_RECORDS))
        }
        (None, None) => Ok(Cut::Tick(LIVE_EPOCH)),
    }
}

fn destination(place: &Place) -> Destination {
    match place {
        Place::File(path) => Destination::File(path.clone()),
        Place::Topic(name) => Destination::Topic(name.clone()),
    }
}

fn cluster(args: &RunArgs) -> Result<Cluster> {
    let processes = args.processes.get();
    let process = args.process;
    ensure!(
        process < processes,
        "-p {process} needs at least -n {}: processes are numbered from 0",
        process + 1
    );
    let addresses = match &args.hostfile {
        None => (0..processes).map(|process| format!("localhost:{}", PORT + process)).collect(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let addresses: Vec<String> = lines.map(str::to_owned).collect();
            let found = addresses.len();
            ensure!(found >= processes, "{} has {found} addresses for -n {processes}", path.display());
            addresses[..processes].to_vec()
        }
    };
    for address in addresses.iter().chain(&args.listen) {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let is_address = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        ensure!(is_address, "{address:?} is no address of a process: want host:port");
    }
    let secret = secret(args)?;
    let stranger = addresses.iter().chain(&args.listen).find(|address| !is_loopback(address));
    if let (true, None, Some(address)) = (processes > 1, &secret, stranger) {
        bail!("{address} can be reached from outside: a cluster there needs --cluster-secret-file");
    }
    ensure!(args.peer_timeout.0 >= TIMEOUT_MIN, "--peer-timeout must be at least {TIMEOUT_MIN:?}");
    ensure!(args.stall_timeout.0 >= TIMEOUT_MIN, "--stall-timeout must be at least {TIMEOUT_MIN:?}");
    let timeouts = Timeouts {
        join: args.join_timeout.0,
        peer: args.peer_timeout.0,
        stall: args.stall_timeout.0,
        stop: args.stop_timeout.0,
    };
    let (threads, listen) = (args.workers.get(), args.listen.clone());
    Ok(Cluster { threads, process, addresses, listen, secret, timeouts })
}

/// The secret that the processes of a cluster prove to each other: from the file, else from the environment variable.
fn secret(args: &RunArgs) -> Result<Option<Secret>> {
    if let Some(path) = &args.cluster_secret_file {
        let secret = Secret::from_file(path);
        return Ok(Some(secret.with_context(|| format!("--cluster-secret-file {}", path.display()))?));
    }
    let secret = std::env::var_os(SECRET_VARIABLE).map(|text| Secret::new(text.as_encoded_bytes()));
    secret.transpose().context(SECRET_VARIABLE)
}

/// The options of `top` that its flags describe.
///
/// # Errors
/// When flags contradict each other. The message names the flag.
pub fn top(args: &TopArgs) -> Result<TopOptions> {
    effects::check_top(args)?;
    if let Place::Topic(_) = args.input {
        kafka(&args.kafka)?;
    }
    let item = args.item.as_deref().map(Into::into);
    Ok(TopOptions { item, follow: args.follow, limit: args.limit.get(), sort: args.sort, json: args.json })
}

/// The source that `top` reads: with `--follow` a topic without end, else the records that exist now.
///
/// # Errors
/// When the source cannot be opened.
pub fn lists(args: &TopArgs) -> Result<Box<dyn Source>> {
    match &args.input {
        Place::File(path) => list_file(path),
        Place::Topic(topic) => list_topic(&kafka(&args.kafka)?, topic, !args.follow),
    }
}

/// The options of `demo` that its flags describe.
///
/// # Errors
/// When a value is out of its range. The message names the flag.
pub fn demo(args: &DemoArgs, is_terminal: bool) -> Result<DemoOptions> {
    let &DemoArgs { seconds, seed, rate, top_k, ref serve } = args;
    let serve = serve.as_ref().map(serve::local).transpose()?;
    let options = DemoOptions { seconds, seed, rate, k: top_k.get(), is_terminal, serve };
    options.validate()?;
    Ok(options)
}

/// The options of `generate` that its flags describe.
///
/// # Errors
/// When flags contradict each other, a value is out of its range, or a file would be lost. The message names the
/// flag.
pub fn generate(args: &GenerateArgs) -> Result<GenerateOptions> {
    effects::check_generate(args)?;
    let topic = matches!(args.output, Place::Topic(_));
    let options = GenerateOptions {
        shop: ShopSettings {
            seed: args.seed,
            items: args.items,
            users: args.users,
            zipf_exponent: args.zipf,
            removes_per_add: args.removes,
            purchases_per_add: args.purchases,
            events: args.events,
            ..ShopSettings::default()
        },
        output: destination(&args.output),
        kafka: if topic { Some(kafka(&args.kafka)?) } else { None },
        partitions: args.partitions.get(),
        rate: args.rate,
        head_start: 0,
        existing: if args.overwrite { ExistingFile::Replace } else { ExistingFile::Refuse },
    };
    options.validate()?;
    if let Destination::File(path) = &options.output {
        parquet_output::check_lines("--output", path)?;
        let output = Written { flag: "--output", path: path.clone(), existing: options.existing };
        refuse_lost_files(&[], &[output])?;
    }
    Ok(options)
}

/// Writes the completion script of a shell to `out`.
pub fn completions(shell: clap_complete::Shell, out: &mut dyn std::io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "deltacart", out);
}
