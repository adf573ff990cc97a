//! Evaluation: how good are the answers of the job, and of simple methods beside it, on events that it has not seen?
//!
//! ```text
//!  files ─▶ log ─▶ protocol ─▶ plan: rounds of events to learn, and of cases to ask
//!                                │
//!                                ▼                    answers
//!        methods ─▶ pass: the dataflow of the job, or a yardstick ─▶ metrics ─▶ intervals ─▶ report ─▶ table, JSON,
//!                                                                                            CSV, HTML
//! ```
//!
//! Words: a **case** is something to predict: items that are given, and items that are the **truth**. A **unit** is
//! what cases belong to and what intervals are drawn over: a session, an order or a user. A **method** is a way of
//! answering with its settings.
//!
//! # Notes
//! - Lists and answers are those of the dataflow ([`deltacart_dataflows::recommend_core`]). Nothing here scores a
//!   pair of items.
//! - Rankings are full: every item of the training part competes.
//! - Two runs with the same input and settings give the same report, whatever the workers.

pub mod data;

pub mod ledger;

pub mod hash;

pub mod cases;

pub mod protocols;

pub mod methods;

mod engine;

mod observed;

mod yardsticks;

pub mod metrics;

pub mod intervals;

pub mod mcnemar;

pub mod report;

pub mod run;

pub mod study;

pub mod tune;

pub mod export;
