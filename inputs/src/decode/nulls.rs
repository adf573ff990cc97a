//! Words that stand for nothing: what exporters write where a table has no value.

use super::FormatError;
use std::str::FromStr;

/// The words that are read as an absent value (`--null-words`), in any case of their letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NullWords {
    words: Vec<String>,
    bytes_max: usize,
}

impl NullWords {
    /// Whether `text` is one of the words.
    pub(super) fn has(&self, text: &str) -> bool {
        text.len() <= self.bytes_max && self.words.iter().any(|word| word.eq_ignore_ascii_case(text))
    }

    /// As it may be typed in a shell.
    pub(super) fn text(&self) -> String {
        if self.words.is_empty() { "''".to_owned() } else { self.words.join(",") }
    }

    fn new(words: Vec<String>) -> NullWords {
        let bytes_max = words.iter().map(String::len).max().unwrap_or(0);
        NullWords { words, bytes_max }
    }
}

impl Default for NullWords {
    /// `NULL` of databases, `\N` of their dumps, and `nan` of Python.
    fn default() -> NullWords {
        NullWords::new(["NULL", "\\N", "nan"].map(str::to_owned).to_vec())
    }
}

impl FromStr for NullWords {
    type Err = FormatError;

    /// Words between commas; the empty text is none of them.
    fn from_str(text: &str) -> Result<NullWords, FormatError> {
        if text.is_empty() {
            return Ok(NullWords::new(Vec::new()));
        }
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        if words.iter().any(String::is_empty) {
            return Err(FormatError::BadNullWords(text.to_owned()));
        }
        Ok(NullWords::new(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_nothing_in_any_case() {
        let usual = NullWords::default();
        for word in ["NULL", "null", "Null", "\\N", "nan", "NaN", "NAN"] {
            assert!(usual.has(word), "{word}");
        }
        for word in ["", "N", "NA", "None", "nankeen", " NULL", "0", "\\\\N"] {
            assert!(!usual.has(word), "{word}");
        }
        assert_eq!(usual.text().parse(), Ok(usual));
        let own: NullWords = "n/a,0".parse().unwrap();
        assert!(own.has("N/A") && own.has("0") && !own.has("NULL"));
        let none: NullWords = "".parse().unwrap();
        assert!(!none.has("") && !none.has("NULL"));
        assert!("a,,b".parse::<NullWords>().is_err());
    }
}
