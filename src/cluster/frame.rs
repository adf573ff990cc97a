//! Frames: the messages of the heartbeat connection.
//!
//! A frame is a kind (1 byte), the length of its text (2 bytes, big-endian) and the text (UTF-8).
//!
//! ```text
//!   ready   this process has all its connections; no process starts before all are ready
//!   ping    each second
//!   goodbye this process has finished; its silence is no failure
//!   failed  this process ends, and the text says why
//!   follows this process ends because another one failed; the text is that one's message
//!   enough  the reader of the output has closed it: end without a failure
//! ```

use std::io;

/// The most bytes of a frame's text.
pub(super) const TEXT_BYTES_MAX: usize = 1000;

/// A message of the heartbeat connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Ready,
    Ping,
    Goodbye,
    Failed(String),
    Follows(String),
    Enough,
}

impl Frame {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Frame::Ready => (1, ""),
            Frame::Ping => (2, ""),
            Frame::Goodbye => (3, ""),
            Frame::Failed(text) => (4, text.as_str()),
            Frame::Enough => (5, ""),
            Frame::Follows(text) => (6, text.as_str()),
        };
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        [&[kind][..], &(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
    }

    /// The first frame in `bytes` and its length; `None` if it is not complete.
    ///
    /// # Errors
    /// When the bytes are no frame.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Option<(Frame, usize)>> {
        let [kind, high, low, rest @ ..] = bytes else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > TEXT_BYTES_MAX {
            return Err(nonsense());
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let frame = match kind {
            1 => Frame::Ready,
            2 => Frame::Ping,
            3 => Frame::Goodbye,
            4 => Frame::Failed(String::from_utf8_lossy(text).into_owned()),
            5 => Frame::Enough,
            6 => Frame::Follows(String::from_utf8_lossy(text).into_owned()),
            _ => return Err(nonsense()),
        };
        Ok(Some((frame, 3 + length)))
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what it sends makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_wherever_they_are_cut() {
        let frames = [
            Frame::Ready,
            Frame::Ping,
            Frame::Goodbye,
            Frame::Failed("why…".into()),
            Frame::Enough,
            Frame::Follows("".into()),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let (mut heard, mut buffer) = (Vec::new(), Vec::new());
        for byte in bytes {
            buffer.push(byte);
            while let Some((frame, length)) = Frame::decode(&buffer).unwrap() {
                buffer.drain(..length);
                heard.push(frame);
            }
        }
        assert_eq!(heard, frames);
    }

    #[test]
    fn texts_are_bounded() {
        let long = Frame::Failed("…".repeat(TEXT_BYTES_MAX)).encode();
        assert!(long.len() <= TEXT_BYTES_MAX + 3);
        assert!(matches!(Frame::decode(&long), Ok(Some((Frame::Failed(_), _)))));
        assert!(Frame::decode(&[4, 0xff, 0xff]).is_err(), "is not waited for");
        assert!(Frame::decode(&[9, 0, 0]).is_err());
        assert!(matches!(Frame::decode(&[4, 0, 1, 0xff]), Ok(Some(_))), "no text, but no panic");
    }
}
