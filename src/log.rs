//! Standard error: log lines, summaries, and the last message of a command that fails.
//!
//! ```text
//!  tracing events ──▶ filter (--log, RUST_LOG, or info) ──┐
//!  last messages, summaries: never filtered ──────────────┴─▶ a line each, text or JSON ──▶ standard error
//! ```
//!
//! Ids and broker messages are untrusted. Every character on which a terminal might act is escaped, line breaks
//! included. So one message is always one line.

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The format of the lines on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, for people.
    #[default]
    Text,
    /// One JSON object for each line, with `timestamp`, `level`, `message` and the fields of the message.
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

/// A name that an operator gives to a run, to tell its log lines and metrics from those of other runs: 1 to 64 ASCII
/// letters, digits or characters of `._:/@+-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLabel(String);

impl RunLabel {
    const BYTES_MAX: usize = 64;
}

impl FromStr for RunLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte));
        if is_plain && (1..=Self::BYTES_MAX).contains(&text.len()) {
            return Ok(RunLabel(text.to_owned()));
        }
        Err(format!("want 1 to {} letters, digits or characters of ._:/@+-", Self::BYTES_MAX))
    }
}

/// The label of this run, if [`set_up`] has set one.
static LABEL: OnceLock<RunLabel> = OnceLock::new();

/// The label of this run; empty if it has none.
pub fn run_label() -> &'static str {
    LABEL.get().map_or("", |label| &label.0)
}

/// The format in use, once [`set_up`] has set it.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// The default filter: progress of the job, and warnings and errors of libraries.
const USUAL: &str = "warn,deltacart=info";

/// Starts logging in this format, of the events that `filter` lets through. Every line carries the label, if there is
/// one.
///
/// Without a filter, the variable `RUST_LOG` is the filter, and without that [`USUAL`].
///
/// # Errors
/// When the filter cannot be parsed.
///
/// # Panics
/// When logging has been set up before.
pub fn set_up(format: LogFormat, filter: Option<&str>, label: Option<RunLabel>) -> Result<()> {
    // The format and the label are set first, so that an error about the filter has them.
    if let Some(label) = label {
        LABEL.get_or_init(|| label);
    }
    let format = *FORMAT.get_or_init(|| format);
    let filter = match filter {
        Some(text) => parse(text)?,
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL)),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match format {
        // Journals of supervisors add the time themselves.
        LogFormat::Text => log
            .without_time()
            .with_target(false)
            .with_ansi_sanitization(false)
            .with_writer(|| Lines::TEXT)
            .init(),
        LogFormat::Json => log.json().flatten_event(true).with_writer(|| Lines::JSON).init(),
    }
    Ok(())
}

/// Parses a filter: a level, or directives. A bare word that is no level is refused: it would be taken for a target,
/// and hide everything else.
fn parse(text: &str) -> Result<EnvFilter> {
    let wanted = "want off, error, warn, info, debug, trace, or directives such as warn,librdkafka=debug";
    // An empty text would be parsed as a level.
    let is_level = |part: &str| !part.trim().is_empty() && part.trim().parse::<LevelFilter>().is_ok();
    let is_word = |part: &str| part.contains(['=', '[']) || is_level(part);
    ensure!(text.split(',').all(is_word), "--log cannot be {text:?}: {wanted}");
    EnvFilter::builder().parse(text).map_err(|error| anyhow!("--log cannot be {text:?} ({error}): {wanted}"))
}

/// Writes the last message of a command that fails: the reason.
pub fn final_error(message: impl fmt::Display) {
    match FORMAT.get() {
        Some(LogFormat::Json) => json_line("ERROR", &message.to_string(), Map::new()),
        _ => text_line(&format!("deltacart: {message}")),
    }
}

/// Writes a result of the command. The filter does not apply: the result is part of what the command is for.
pub fn say(message: impl fmt::Display) {
    say_with(message, Map::new());
}

/// Writes a result of the command with its numbers. In JSON lines, the numbers are fields of the object; in text
/// lines they are left out.
pub fn say_with(message: impl fmt::Display, fields: Map<String, Value>) {
    match FORMAT.get() {
        Some(LogFormat::Json) => json_line("INFO", &message.to_string(), fields),
        _ => text_line(&message.to_string()),
    }
}

/// Whether standard error may have more than lines, such as a progress bar: not where lines are JSON.
pub fn is_for_people() -> bool {
    FORMAT.get() != Some(&LogFormat::Json)
}

fn text_line(message: &str) {
    put(message, Lines::TEXT);
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
    put(&line.expect("text is always JSON"), Lines::JSON);
}

/// Writes one line. An error of standard error is ignored, since there is nowhere else to report it.
fn put(line: &str, mut lines: Lines) {
    let _ = lines.write_all(format!("{line}\n").as_bytes());
}

/// Writes the escape of a character that a terminal must not receive.
type Escape = fn(&mut String, char) -> fmt::Result;

fn escape_text(line: &mut String, character: char) -> fmt::Result {
    write!(line, "{}", character.escape_debug())
}

/// Writes JSON escapes of four hexadecimal digits, one for each UTF-16 unit. Such characters occur only inside JSON
/// strings, where the escapes are valid.
fn escape_json(line: &mut String, character: char) -> fmt::Result {
    character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(line, "\\u{unit:04x}"))
}

/// Whether a character is written without an escape. Control characters are not, nor are format characters such as
/// those that change the direction of writing.
fn is_shown(character: char) -> bool {
    let turns =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    !character.is_control() && !turns && character != '\u{feff}'
}

/// A writer to standard error that writes one whole line for each call.
struct Lines {
    escape: Escape,
    /// Puts the label of the run into a line.
    label: fn(&str, &str) -> String,
}

impl Lines {
    const TEXT: Lines = Lines { escape: escape_text, label: |label, line| format!("[{label}] {line}") };
    /// The label is the first field of the object. It needs no escape, see [`RunLabel`].
    const JSON: Lines = Lines {
        escape: escape_json,
        label: |label, line| line.replacen('{', &format!("{{\"run_label\":\"{label}\","), 1),
    };
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
        if let Some(RunLabel(label)) = LABEL.get() {
            line = (self.label)(label, &line);
        }
        // The line is written in one call, so that lines of several processes do not mix.
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
