//! The parsers of deltacart and nothing else of it, for the fuzz targets: the same files, without the Kafka client
//! and what needs it, so that a build takes seconds and all of it is instrumented.
//!
//! ```text
//! fuzz_targets/NAME.rs ─▶ fuzz::NAME (src/fuzz.rs of the project) ─▶ parser, laws ◀─ tests/fuzz.rs, on stable Rust
//! ```

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/fuzz.rs"]
pub mod fuzz;

#[path = "../../src/state"]
pub mod state {
    mod error;
    mod fields;
    mod frame;
    pub(crate) mod fuzz;
    pub mod manifest;
    pub mod part;

    pub use error::StateError;
}

#[path = "../../src/output"]
pub mod output {
    mod change;
    mod decimal;
    mod records;
    mod difference;
    mod encode;
    mod parsed_record;
    mod fold;
    pub(crate) mod fuzz;
    pub(crate) mod consumer_state;

    pub use change::ListChange;
    pub use decimal::{Decimal, DecimalError};
    pub use encode::{CONNECTOR, Envelope, EnvelopeError, OutputOptions, RowKind, VERSION, encode};
    pub use fold::{Entry, FoldError, Lists, Published};
    pub use records::{Record, Records};
}

#[path = "../../src/cluster"]
pub mod cluster {
    mod frame;
    pub(crate) mod fuzz;
    mod handshake;
    mod secret;
    mod settings;
    mod wire;
}

#[path = "../../src/serve"]
pub mod serve {
    mod asking;
    pub(crate) mod fuzz;
    mod problem;
    mod query;
}

#[path = "../../src/top"]
pub mod top {
    mod table;

    pub use table::escaped;
}
