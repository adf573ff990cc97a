//! The settings of a job that must be the same on every process.
//!
//! Their types are destructured field by field, without `..`. So a new field is a compile error here, until somebody
//! has decided whether processes may differ in it.

use super::settings::Settings;
use crate::files::ExistingFile;
use crate::job::{AheadLimits, Cut, Input, Job, StateOptions, Stream, Streams};
use crate::output::{OutputOptions, RowKind};
use crate::outputs::{OutputStream, TableSettings};
use deltacart_dataflows::{ListParams, Params, Scoring};
use deltacart_inputs::{DecodeOptions, Limits};

impl Settings {
    /// The shared settings of a job.
    pub(crate) fn of(job: &Job) -> Settings {
        let mut settings = Settings::default();
        let Job {
            streams,
            params,
            outputs,
            output_partitions,
            dead_letters,
            cut,
            limits,
            prequential,
            verify,
            cluster,
            // A process may reach the brokers by other names.
            kafka: _,
            delivery,
            existing,
            state,
            serving,
        } = job;
        settings.set("the version", env!("CARGO_PKG_VERSION"));
        settings.set_streams(streams);
        settings.set_params(params);
        for (_number, stream) in outputs.iter() {
            let OutputStream { content, destination } = stream;
            settings.set(content.flag(), destination);
            if let Some(TableSettings { records, every }) = content.table() {
                let OutputOptions { rows, envelope, scores: _, score_digits: _ } = records;
                settings.set("--envelope", envelope);
                let flag = match rows {
                    RowKind::Item => "--lists-every",
                    RowKind::Cart => "--carts-every",
                    RowKind::User => "--users-every",
                };
                settings.set(flag, every);
            }
        }
        settings.set("--output-partitions", output_partitions);
        settings.set("--dead-letter", dead_letters);
        match cut {
            Cut::Tick(tick) => settings.set("--epoch", tick),
            Cut::Records(records) => settings.set("--epoch-events", records),
        }
        let AheadLimits { epochs, epoch_events, epoch_bytes } = limits;
        settings.set("--max-epochs-ahead", epochs);
        settings.set("--max-epoch-events", epoch_events);
        settings.set("--max-epoch-bytes", epoch_bytes);
        settings.set("--prequential", prequential);
        settings.set("--verify", verify);
        settings.set("--delivery, --job or --slots", delivery);
        settings.set("--overwrite", *existing == ExistingFile::Replace);
        settings.set("--state", state.is_some());
        // Each process has an address of its own, and all of them take questions.
        settings.set("--serve", serving.is_some());
        if let Some(StateOptions { place: _, every, on_expired }) = state {
            settings.set("--snapshot-every", every);
            settings.set("--on-expired", on_expired);
        }
        settings.set("--workers", cluster.threads);
        settings.set("--processes", cluster.processes());
        settings
    }

    /// Adds the list of streams and the settings of each. If there is only one stream, its flags are named without
    /// it.
    fn set_streams(&mut self, streams: &Streams) {
        let names: Vec<String> = streams.iter().map(|(_number, stream)| stream.name()).collect();
        self.set("--input", names);
        for (number, stream) in streams.iter() {
            let of = match streams.count() {
                1 => String::new(),
                _ => format!(" of input {} ({})", u32::from(number) + 1, stream.name()),
            };
            self.set_stream(&of, stream);
        }
    }

    fn set_stream(&mut self, of: &str, stream: &Stream) {
        let Stream { input, decode } = stream;
        match input {
            Input::Files(paths) => self.set(&format!("--input{of}"), paths),
            Input::Topic { name: _, from, until_end, metadata_refresh } => {
                self.set(&format!("--from{of}"), from);
                self.set(&format!("--until-end{of}"), until_end);
                self.set(&format!("--metadata-refresh{of}"), metadata_refresh);
            }
        }
        let DecodeOptions {
            format,
            basket,
            columns,
            fields,
            event_names,
            limits,
            duplicate_horizon,
            delimiter,
            repeated_orders,
            tombstones,
            registry,
            null_words,
            time_format,
            // By --evidence.
            views: _,
        } = decode;
        self.set(&format!("--format{of}"), format);
        self.set(&format!("--basket{of}"), basket);
        self.set(&format!("--columns{of}"), columns);
        self.set(&format!("--fields{of}"), fields);
        self.set(&format!("--event-names{of}"), event_names);
        self.set_limits(of, limits);
        self.set(&format!("--repeated-orders{of}"), repeated_orders);
        self.set(&format!("--tombstones{of}"), tombstones);
        self.set(&format!("--duplicate-horizon{of}"), duplicate_horizon);
        self.set(&format!("--delimiter{of}"), delimiter);
        self.set(&format!("--null-words{of}"), null_words);
        self.set(&format!("--time-format{of}"), time_format);
        // The registry's address may differ by machine.
        self.set(&format!("--schema-registry{of}"), registry.is_some());
    }

    fn set_limits(&mut self, of: &str, limits: &Limits) {
        self.set(&format!("--max-record-bytes{of}"), limits.record_bytes_max);
        self.set(&format!("--max-letters-per-record{of}"), limits.part_rejects_max);
        self.set(&format!("--quantity-decimals{of}"), limits.quantity_decimals);
        // All of them, because those without a flag may differ between two builds.
        self.set(&format!("the limits of records{of}"), limits);
    }

    fn set_params(&mut self, params: &Params) {
        let Params {
            algorithm,
            lists,
            basket_items_max,
            basket_idle,
            item_baskets_max,
            evidence,
            open_for,
            answers,
        } = params;
        let ListParams { k, scoring, scores } = lists;
        let Scoring { measure, alpha, damping, min_count, digits } = scoring;
        self.set("--engine", algorithm);
        self.set("--top-k", k);
        self.set("--measure", measure);
        self.set("--alpha", alpha);
        self.set("--damping", damping);
        self.set("--min-count", min_count);
        self.set("--score-digits", digits);
        self.set("--scores", scores);
        self.set("--max-basket-items", basket_items_max);
        self.set("--basket-idle", basket_idle);
        self.set("--max-item-baskets", item_baskets_max);
        self.set("--evidence", evidence);
        self.set("--open-for", open_for);
        self.set("--recommend, --answer-by and the settings of answers", answers);
    }
}
