//! Complaints about a command line repeat what was typed, and end in logs: what may be a secret is left out of them.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// The complaint without the value of a `name=value` that stands where none is expected, such as a property of Kafka
/// whose `-X` was forgotten.
pub fn redacted(mut error: Error) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return error };
    if let Some((name, _value)) = typed.split_once('=') {
        let shown = format!("{name}=…");
        error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        // The tip would repeat it.
        error.remove(ContextKind::Suggested);
    }
    error
}
