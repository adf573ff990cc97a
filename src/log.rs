//! What the job says on standard error: log lines, the summary, and the last message of one that fails.
//!
//! ```text
//!  tracing events ──▶ filter (--log, RUST_LOG, or info) ──┐
//!  last messages, summaries: never filtered ──────────────┴─▶ a line each, text or JSON ──▶ standard error
//! ```
//!
//! Ids and messages of brokers come from anybody: whatever a terminal might act on instead of showing it is escaped, a
//! line break too, so that a line is a message.

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line: `timestamp`, `level`, `message` and what belongs to it.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("want text or json".to_owned()),
        }
    }
}

/// The format in force, once it is known.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// What is said unless something else is asked for: how the job goes, and what is wrong.
const USUAL: &str = "warn,deltacart=info";

/// Says from now on what `filter` lets through, and how; without a filter `RUST_LOG` is one, or else [`USUAL`].
///
/// # Errors
/// When the filter cannot be understood.
pub fn set_up(format: LogFormat, filter: Option<&str>) -> Result<()> {
    // First, so that a complaint about the filter has the right format.
    let format = *FORMAT.get_or_init(|| format);
    let filter = match filter {
        Some(text) => parse(text)?,
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL)),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match format {
        // A supervisor's journal has the time already.
        LogFormat::Text => log
            .without_time()
            .with_target(false)
            .with_ansi_sanitization(false)
            .with_writer(|| Lines { escape: escape_text })
            .init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_writer(|| Lines { escape: escape_json }).init()
        }
    }
    Ok(())
}

/// A level, or directives: a bare word that is no level would be taken for a target, and hide everything else.
fn parse(text: &str) -> Result<EnvFilter> {
    let wanted = "want off, error, warn, info, debug, trace, or directives such as warn,librdkafka=debug";
    // Nothing at all would be taken for a level.
    let is_level = |part: &str| !part.trim().is_empty() && part.trim().parse::<LevelFilter>().is_ok();
    let is_word = |part: &str| part.contains(['=', '[']) || is_level(part);
    ensure!(text.split(',').all(is_word), "--log cannot be {text:?}: {wanted}");
    EnvFilter::builder().parse(text).map_err(|error| anyhow!("--log cannot be {text:?} ({error}): {wanted}"))
}

/// Says the last thing: why the command ends without having done what it was to do.
pub fn last_words(message: impl fmt::Display) {
    match FORMAT.get() {
        Some(LogFormat::Json) => json_line("ERROR", &message.to_string(), Map::new()),
        _ => text_line(&format!("deltacart: {message}")),
    }
}

/// Says what was done: part of what the command is for, whatever the filter.
pub fn say(message: impl fmt::Display) {
    say_with(message, Map::new());
}

/// Says what was done, with numbers that belong to it: fields of the object, where lines are objects.
pub fn say_with(message: impl fmt::Display, fields: Map<String, Value>) {
    match FORMAT.get() {
        Some(LogFormat::Json) => json_line("INFO", &message.to_string(), fields),
        _ => text_line(&message.to_string()),
    }
}

/// Whether there may be something else than lines, such as a bar that moves.
pub fn is_for_people() -> bool {
    FORMAT.get() != Some(&LogFormat::Json)
}

fn text_line(message: &str) {
    put(message, escape_text);
}

fn json_line(level: &'static str, message: &str, fields: Map<String, Value>) {
    #[derive(Serialize)]
    struct Line<'a> {
        timestamp: String,
        level: &'static str,
        message: &'a str,
        #[serde(flatten)]
        fields: Map<String, Value>,
    }
    let timestamp = jiff::Timestamp::now().to_string();
    let line = serde_json::to_string(&Line { timestamp, level, message, fields });
    put(&line.expect("text is always JSON"), escape_json);
}

/// Writes one line. Nobody can be told when nobody listens.
fn put(line: &str, escape: Escape) {
    let _ = Lines { escape }.write_all(format!("{line}\n").as_bytes());
}

/// Writes a character that no terminal is to get as it is.
type Escape = fn(&mut String, char) -> fmt::Result;

fn escape_text(line: &mut String, character: char) -> fmt::Result {
    write!(line, "{}", character.escape_debug())
}

/// Inside a string: outside of strings there are no such characters. All of them have four digits.
fn escape_json(line: &mut String, character: char) -> fmt::Result {
    character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(line, "\\u{unit:04x}"))
}

/// Control characters, and format characters such as those that turn the direction of writing.
fn is_shown(character: char) -> bool {
    let turns =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    !character.is_control() && !turns && character != '\u{feff}'
}

/// Standard error, a whole line at a time.
struct Lines {
    escape: Escape,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut line = String::with_capacity(text.len() + 1);
        for character in text.strip_suffix('\n').unwrap_or(&text).chars() {
            if is_shown(character) {
                line.push(character);
            } else {
                (self.escape)(&mut line, character).map_err(io::Error::other)?;
            }
        }
        line.push('\n');
        // In one call, so that lines of several processes do not mix.
        io::stderr().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, escape: Escape) -> String {
        let mut line = String::new();
        for character in text.chars() {
            if is_shown(character) { line.push(character) } else { escape(&mut line, character).unwrap() }
        }
        line
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let hostile = "tea\u{1b}[2J\n\u{85}\u{202e}\u{e9}\"";
        assert_eq!(escaped(hostile, escape_text), "tea\\u{1b}[2J\\n\\u{85}\\u{202e}\u{e9}\"");
        assert_eq!(escaped("\u{85}\u{202e}", escape_json), "\\u0085\\u202e");
        let line = serde_json::to_string(hostile).unwrap();
        let line = escaped(&line, escape_json);
        assert!(line.chars().all(is_shown), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), hostile);
    }

    #[test]
    fn filters_are_levels_or_directives() {
        for good in ["off", "warn", "INFO", "warn,librdkafka=debug", "deltacart[span]=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["wran", "", "deltacart", "warn,rdkafka", "deltacart=loud"] {
            let error = parse(bad).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("--log"), "{bad}: {error}");
        }
    }
}
