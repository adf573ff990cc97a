//! Error messages about a command line repeat what was typed, and end up in logs. Possible secrets are removed from
//! them.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// The error without the value of an unexpected `name=value`, such as a Kafka property whose `-X` was forgotten.
pub fn redacted(mut error: Error) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return error };
    if let Some((name, _value)) = typed.split_once('=') {
        let shown = format!("{name}=…");
        error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        // The suggestion would repeat the value.
        error.remove(ContextKind::Suggested);
    }
    error
}
