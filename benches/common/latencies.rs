//! All latencies, in microseconds. Ten million take 40 MB, so they need no histogram.

use super::rows::{Figures, number};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Latencies in the order in which they are measured.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency.as_micros().try_into().unwrap_or(u32::MAX));
    }

    /// Adds the latencies of another thread.
    pub(crate) fn append(&mut self, mut other: Latencies) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn summary(mut self) -> Summary {
        self.0.sort_unstable();
        let found = self.0.len();
        // The smallest latency that at least this share of all latencies does not exceed.
        let at = |share: f64| {
            let rank = (found as f64 * share).ceil() as usize;
            self.0.get(rank.saturating_sub(1)).map_or(0.0, |&micros| f64::from(micros) / 1e3)
        };
        let tails = [1.0, 0.5, 0.2, 0.1].into_iter().chain((2..7).flat_map(|digits| {
            let unit = 10f64.powi(-digits);
            [5.0 * unit, 2.0 * unit, unit]
        }));
        let known = tails.filter(|tail| found as f64 * tail >= 1.0);
        let mut ccdf: Vec<[f64; 2]> = known.map(|tail| [at(1.0 - tail), tail]).collect();
        if found > 0 {
            ccdf.push([at(1.0), 1.0 / found as f64]);
        }
        Summary { found, p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0), ccdf }
    }
}

/// Percentiles of latencies, in milliseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) found: usize,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Points (latency, share of all latencies that are as long or longer).
    pub(crate) ccdf: Vec<[f64; 2]>,
}

impl Summary {
    /// The latency that this share of all latencies reach, as far as the curve has the share.
    pub(crate) fn at(&self, share: f64) -> f64 {
        self.ccdf.iter().find(|[_ms, tail]| (tail - share).abs() < 1e-9).map_or(self.max, |[ms, _tail]| *ms)
    }

    pub(crate) fn figures(&self) -> Figures {
        let ccdf: Vec<Value> =
            self.ccdf.iter().map(|[ms, tail]| json!([number(*ms), number(*tail)])).collect();
        vec![
            ("latencies", json!(self.found)),
            ("p50_ms", number(self.p50)),
            ("p95_ms", number(self.p95)),
            ("p99_ms", number(self.p99)),
            ("p999_ms", number(self.p999)),
            ("max_ms", number(self.max)),
            ("ccdf", json!(ccdf)),
        ]
    }
}
