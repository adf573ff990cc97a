//! Serving: lists and answers over HTTP, from a job (`run --serve`) or from a replica (`deltacart serve`).
//!
//! ```text
//!           delivered lists  ┌────────┐ look-ups, streams ┌─────┐
//!  worker ──────────────────▶│ Tables ├──────────────────▶│     │
//!         ◀── questions ─────┌────────┐◀──────────────────┤ api │◀──▶ clients
//!         ─── answers ──────▶│ Queue  ├──────────────────▶│     │
//!                            └────────┘                   └─────┘
//!  replica: topics ─────────▶ Tables
//! ```
//!
//! - **Look-ups** read the lists that were delivered. They never reach a worker.
//! - **Questions** go into the dataflow, and are answered at the close of their epoch, from the same state on all
//!   workers. A replica has none.
//!
//! `docs/serving.md` is the contract with clients.

mod api;
mod asking;
#[doc(hidden)]
pub(crate) mod fuzz;
mod gorse;
mod guard;
mod lookups;
mod options;
mod page;
mod popular;
mod problem;
mod query;
mod question_queue;
mod questions;
mod replica;
mod server;
mod service;
mod status;
mod streams;
mod tables;

pub use options::{ServeError, ServeOptions};
pub(crate) use question_queue::{Asked, QuestionQueue};
pub use replica::{Followed, serve_replica};
pub use tables::Kinds;
pub(crate) use tables::{ScoreDigits, Tables, published};

use crate::metrics::Meter;
use service::Service;
use std::fmt;
use std::net::SocketAddr;

/// What a job and its server share. Clones share it.
#[derive(Clone)]
pub struct Serving {
    pub(crate) tables: Tables,
    pub(crate) questions: QuestionQueue,
}

impl Serving {
    /// For a process of `workers` workers, with room for `questions` that wait for their epoch.
    pub fn new(kinds: Kinds, workers: usize, questions: usize) -> Serving {
        Serving { tables: Tables::new(kinds, workers), questions: QuestionQueue::new(workers, questions) }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Serving")
    }
}

/// Serves the lists and the answers of a job, and makes its meter watched. Returns the address that is served.
///
/// # Errors
/// When the address cannot be bound, or the thread cannot be started.
pub(crate) fn serve_job(
    options: ServeOptions,
    serving: &Serving,
    meter: &Meter,
) -> Result<SocketAddr, ServeError> {
    meter.watch();
    let (Serving { tables, questions }, progress) = (serving.clone(), meter.clone());
    let progress = Box::new(move || progress.progress());
    server::start(Service::new(tables, Some(questions), progress, meter.serves()), options)
}
