//! The metrics of one moment as OpenMetrics text, the format that Prometheus and compatible scrapers read.
//!
//! Names and labels are a public interface. `docs/operations.md` lists them, and a test compares the list with this
//! page.

use super::Seen;
use super::report::PartitionLabel;
use super::serving::ServingMeter;
use crate::log;
use crate::summary::{Counter, HITS_AT, Tally};
use deltacart_dataflows::StateStats;
use deltacart_inputs::registry::RegistryStatus;
use deltacart_inputs::{Flaw, Reason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeLabelValue, EncodeMetric, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// The observations that one page shows.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) now: Instant,
    pub(super) ready: bool,
    pub(super) seen: Seen,
    /// The seconds of epochs, and the seconds of snapshots.
    pub(super) histograms: (Histogram, Histogram),
    pub(super) serving: Option<ServingMeter>,
}

/// The counters of the workers, each with its metric name and its help text.
const COUNTERS: [(Counter, &str, &str); 17] = [
    (Counter::Records, "deltacart_records", "Records read"),
    (Counter::Events, "deltacart_events", "Events taken in"),
    (
        Counter::Views,
        "deltacart_views",
        "Views that were ignored, because --evidence has no view, and views of carts",
    ),
    (Counter::Others, "deltacart_others", "Events of kinds that do not concern baskets, which are ignored"),
    (
        Counter::Anonymous,
        "deltacart_anonymous",
        "Events of visitors who gave no consent, which are ignored: no basket can be theirs",
    ),
    (Counter::Duplicates, "deltacart_duplicates", "Events whose id was met before"),
    (
        Counter::RepeatedOrders,
        "deltacart_repeated_orders",
        "Purchases that repeat an order met before, which are dropped",
    ),
    (
        Counter::LettersLeftOut,
        "deltacart_letters_left_out",
        "Lines and events without a dead letter of their own, beyond --max-letters-per-record",
    ),
    (Counter::NoEffect, "deltacart_no_effect", "Events that changed nothing"),
    (Counter::SplitBaskets, "deltacart_split_baskets", "Baskets with events in several partitions"),
    (Counter::LinesEvicted, "deltacart_lines_evicted", "Lines that left full baskets"),
    (Counter::BasketsExpired, "deltacart_baskets_expired", "Baskets forgotten after --basket-idle"),
    (Counter::ListsChanged, "deltacart_lists_changed", "List changes published"),
    (Counter::RecordsOut, "deltacart_records_out", "Records written to the output streams"),
    (Counter::BytesOut, "deltacart_bytes_out", "Bytes of those"),
    (
        Counter::Predictions,
        "deltacart_predictions",
        "Items that came into sampled carts and were looked up in the answer before",
    ),
    (
        Counter::Verified,
        "deltacart_verified",
        "Comparisons with a computation from scratch, all of which agreed",
    ),
];

impl Page {
    pub(super) fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes everything");
        text
    }

    fn sum(&self, of: impl Fn(&StateStats) -> u64) -> u64 {
        self.seen.reports.values().map(|report| of(&report.stats)).sum()
    }

    fn counts(&self, to: &mut Metrics<'_>) -> fmt::Result {
        let tallies = || self.seen.reports.values().map(|report| &report.tally);
        for (counter, name, help) in COUNTERS {
            to.counter(name, help, tallies().map(|tally| tally.get(&counter)).sum())?;
        }
        // Every reason has a series from the start: an alert on a rate needs a value before the first increment.
        let reasons = || Reason::ALL.iter().map(|reason| reason.name());
        let rejects = by_name(reasons(), tallies().flat_map(Tally::rejects));
        to.counters("deltacart_rejects", "Records that could not be used, by reason", "reason", rejects)?;
        let parts = by_name(reasons(), tallies().flat_map(Tally::part_rejects));
        let help = "Lines and events that could not be used of records that were, by reason";
        to.counters("deltacart_rejected_lines", help, "reason", parts)?;
        let flaws = by_name(Flaw::ALL.iter().map(|flaw| flaw.name()), tallies().flat_map(Tally::flaws));
        let help = "Fields that could not be read and that nothing needed, by what they were";
        to.counters("deltacart_unreadable_fields", help, "field", flaws)?;
        let hits =
            HITS_AT.map(|at| (u64::from(at), tallies().map(|tally| tally.get(&Counter::Hits(at))).sum()));
        let help = "Predictions among so many first items of the answer";
        to.counters("deltacart_prediction_hits", help, "at", hits)?;
        let work = self.seen.reports.iter().map(|(&worker, report)| (worker as u64, report.work));
        to.counters(
            "deltacart_work",
            "Units of work of each worker: how evenly they are loaded",
            "worker",
            work,
        )
    }

    fn progress(&self, to: &mut Metrics<'_>) -> fmt::Result {
        let reports = || self.seen.reports.values();
        let epoch = reports().map(|report| report.epoch).max().unwrap_or(0);
        to.gauge("deltacart_epoch", "The epoch that is read into", epoch)?;
        let open = reports().map(|report| report.open).max().unwrap_or(0);
        to.gauge("deltacart_epochs_open", "Epochs that are neither out nor held back", open)?;
        let help = "From the first record read into an epoch to the epoch being out";
        to.histogram("deltacart_epoch_seconds", help, &self.histograms.0)?;
        let lags = || reports().flat_map(|report| &report.lags);
        let behind = lags().map(|(label, lag)| (label, lag.offsets));
        let help = "Offsets between what has been read of a partition and its end";
        to.gauges_of_partitions("deltacart_lag_events", help, behind)?;
        let hidden = lags().map(|(label, lag)| (label, lag.hidden));
        let help = "Those of them behind a transaction that is open: they cannot be read yet";
        to.gauges_of_partitions("deltacart_hidden_events", help, hidden)?;
        let clocks = reports().flat_map(|report| report.clocks.iter().map(|(label, ms)| (label, ms / 1000)));
        let help = "The largest time of an event of a partition, in seconds since 1970";
        to.gauges_of_partitions("deltacart_clock_seconds", help, clocks)?;
        to.gauge("deltacart_ready", "Whether all that was there at the start is out", u64::from(self.ready))
    }

    fn state(&self, to: &mut Metrics<'_>) -> fmt::Result {
        to.gauge("deltacart_baskets", "Baskets with at least one line", self.sum(|stats| stats.baskets))?;
        to.gauge("deltacart_lines", "Lines of baskets", self.sum(|stats| stats.lines))?;
        to.gauge(
            "deltacart_users",
            "Users with a basket, on each worker that has one",
            self.sum(|stats| stats.users),
        )?;
        to.gauge("deltacart_open_carts", "Open carts that are answered", self.sum(|stats| stats.open_carts))?;
        to.gauge("deltacart_open_users", "Users who are answered", self.sum(|stats| stats.open_users))?;
        let help = "Carts and users that the last refresh left for the next, because of --refresh-max";
        to.gauge("deltacart_refresh_left", help, self.sum(|stats| stats.refresh_left))?;
        // Every worker knows all items, so the maximum is the number, and a sum would count them once per worker.
        let items = self.seen.reports.values().map(|report| report.stats.items).max().unwrap_or(0);
        to.gauge("deltacart_items", "Items that have a name", items)?;
        let forgotten = self.sum(|stats| stats.items_forgotten);
        to.counter("deltacart_items_forgotten", "Items that no basket held any more", forgotten)?;
        to.gauge("deltacart_rows", "Items with a row, and parts of rows", self.sum(|stats| stats.rows))?;
        let sampled: u64 = self.seen.reports.values().map(|report| report.items_sampled).sum();
        to.gauge("deltacart_items_sampled", "Items in more baskets than may speak for one", sampled)?;
        let ids: u64 = self.seen.reports.values().map(|report| report.ids_remembered).sum();
        to.gauge("deltacart_ids_remembered", "Event ids remembered to find duplicates", ids)?;
        let parts = [
            ("ledger", self.sum(|stats| stats.ledger_bytes)),
            ("names", self.sum(|stats| stats.names_bytes)),
            ("store", self.sum(|stats| stats.index_bytes)),
            ("rows", self.sum(|stats| stats.rows_bytes)),
            ("subjects", self.sum(|stats| stats.subjects_bytes)),
        ];
        to.gauges(
            "deltacart_state_bytes",
            "Bytes that the parts of the state have allocated",
            "part",
            parts,
        )?;
        let bounds = self.seen.bounds.iter().copied();
        to.gauges("deltacart_bound", "The limits that the job runs with", "bound", bounds)?;
        match resident_bytes() {
            Some(bytes) => to.gauge("process_resident_memory_bytes", "Resident memory of the process", bytes),
            None => Ok(()),
        }
    }

    /// Metrics of the schema registry. The workers of a process share one registry client, so all report the same
    /// numbers.
    fn schemas(&self, to: &mut Metrics<'_>) -> fmt::Result {
        let reports = || self.seen.reports.values();
        let waiting = reports().map(|report| report.waiting).sum::<u64>();
        to.gauge("deltacart_records_waiting", "Records handed over that wait for their schema", waiting)?;
        let is_away = reports().any(|report| report.registry.is_away);
        let help = "Whether schemas are waited for that the registry does not give";
        to.gauge("deltacart_schema_registry_away", help, u64::from(is_away))?;
        let most =
            |of: fn(&RegistryStatus) -> u64| reports().map(|report| of(&report.registry)).max().unwrap_or(0);
        to.gauge(
            "deltacart_schemas",
            "Schemas of the registry that are known",
            most(|status| status.schemas),
        )?;
        let help = "Schemas that the registry was asked for";
        to.counter("deltacart_schema_requests", help, most(|status| status.requests))?;
        let help = "Times that the schema registry did not answer";
        to.counter("deltacart_schema_failures", help, most(|status| status.failures))
    }

    fn snapshots(&self, to: &mut Metrics<'_>) -> fmt::Result {
        to.histogram("deltacart_snapshot_seconds", "What snapshots took", &self.histograms.1)?;
        let Some(snapshot) = self.seen.snapshot else { return Ok(()) };
        let age = self.now.saturating_duration_since(snapshot.at).as_secs_f64();
        to.gauge("deltacart_snapshot_age_seconds", "How long ago the last snapshot was completed", age)?;
        to.gauge("deltacart_snapshot_bytes", "Bytes of the last snapshot", snapshot.bytes)
    }
}

/// Adds up counts by name. Each of `names` that was not counted has 0.
fn by_name<'a>(
    names: impl Iterator<Item = &'a str>,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> BTreeMap<&'a str, u64> {
    let mut sums: BTreeMap<&str, u64> = names.map(|name| (name, 0)).collect();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    sums
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Metrics(encoder);
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("run_label", log::run_label())];
        to.info("deltacart_build", "What runs here", labels)?;
        self.counts(&mut to)?;
        self.progress(&mut to)?;
        self.state(&mut to)?;
        self.schemas(&mut to)?;
        self.snapshots(&mut to)?;
        self.serving.as_ref().map_or(Ok(()), |meter| serving(meter, &mut to))
    }
}

/// Metrics of the API of `--serve`.
fn serving(meter: &ServingMeter, to: &mut Metrics<'_>) -> fmt::Result {
    let counts = meter.counts();
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counts.responses);
    to.counters("deltacart_responses", "Responses of the API, by their status", "status", classes)?;
    let help = "From a question to its answer";
    to.histogram("deltacart_question_seconds", help, meter.question_seconds())?;
    let help = "Questions that found their queue full (--serve-questions)";
    to.counter("deltacart_questions_refused", help, counts.questions_refused)?;
    to.gauge("deltacart_connections", "Connections to the API", counts.connections)?;
    let help = "Connections that were closed to make room for others (--serve-connections)";
    to.counter("deltacart_connections_closed", help, counts.connections_closed)?;
    to.gauge("deltacart_streams", "Streams of events that are open", counts.streams)
}

/// The encoder of a page, with one method for each kind of metric.
struct Metrics<'a>(DescriptorEncoder<'a>);

impl Metrics<'_> {
    fn info(&mut self, name: &str, help: &str, labels: impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&count, None)
    }

    fn counters<L: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            let labels = [(label, value)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelValue>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            metric.encode_family(&[(label, of)])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauges_of_partitions<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a PartitionLabel, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (PartitionLabel { kind, name, number }, value) in values {
            let labels = [(*kind, name.clone()), ("partition", number.to_string())];
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        histogram.encode(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }
}

/// The resident memory of this process in bytes. `None` where the system has no `/proc/self/status`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}
