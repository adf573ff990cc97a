//! What a file is, by its first bytes: compressed, text in an encoding, or something that holds no records as it is.

use std::io;

/// How the bytes of a file are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Compressed by gzip.
    Gzip,
    /// Compressed by zstd.
    Zstd,
    /// Text behind a UTF-8 byte order mark.
    MarkedUtf8,
    /// UTF-16 behind a byte order mark.
    Utf16(Endian),
    /// As it is.
    Plain,
}

/// Which half of a unit of UTF-16 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

/// How many bytes from the front tell all kinds.
pub(super) const HEAD_BYTES: usize = 265;

/// Files that cannot be read, by their first bytes: what each is, and what to do.
const REFUSED: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "this is a zip archive, as an .xlsx workbook is: unpack it, or save the sheet as CSV"),
    (b"PK\x05\x06", "this is an empty zip archive"),
    (b"\xfd7zXZ\x00", "this is compressed by xz: unpack it with unxz"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive: unpack it"),
    (b"Rar!\x1a\x07", "this is a RAR archive: unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "this is an Excel workbook: save the sheet as CSV"),
    (b"PAR1", PARQUET),
    (b"Obj\x01", "this is an Avro file: export it as lines of JSON, with avro-tools tojson"),
    (b"SQLite format 3\x00", "this is an SQLite database: export the table as CSV"),
    (b"%PDF-", "this is a PDF document"),
    (b"<?xml", "this is XML: export it as CSV or JSON"),
    (b"<!DOCTYPE", "this is a web page: was it saved in place of the file?"),
    (b"<!doctype", "this is a web page: was it saved in place of the file?"),
    (b"<html", "this is a web page: was it saved in place of the file?"),
    (b"\xff\xfe\x00\x00", UTF32),
    (b"\x00\x00\xfe\xff", UTF32),
];

#[cfg(feature = "parquet")]
const PARQUET: &str =
    "this is Parquet, which is read from a file only: not from a pipe, and not compressed once more";
#[cfg(not(feature = "parquet"))]
const PARQUET: &str =
    "this is Parquet, which needs a build with --features parquet; or export it as CSV or as lines of JSON";

const UTF32: &str = "this is UTF-32: convert it with iconv -f UTF-32 -t UTF-8";

/// Where a tar archive says what it is.
const TAR_AT: usize = 257;

impl Kind {
    /// What begins with `head`: the first bytes of a file, or all of a short one.
    ///
    /// # Errors
    /// When no records can be read from it: the error says what it is and what to do.
    pub(super) fn of(head: &[u8]) -> io::Result<Kind> {
        let refused = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        if let Some((_, what)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
            return refused(what);
        }
        if head.get(TAR_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
            return refused("this is a tar archive: unpack it");
        }
        Ok(match *head {
            [0x1f, 0x8b, ..] => Kind::Gzip,
            // A frame, or one of the frames to skip that some writers put first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Kind::Zstd,
            [0xef, 0xbb, 0xbf, ..] => Kind::MarkedUtf8,
            [0xff, 0xfe, ..] => Kind::Utf16(Endian::Little),
            [0xfe, 0xff, ..] => Kind::Utf16(Endian::Big),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => {
                return refused("this is compressed by bzip2: unpack it with bunzip2");
            }
            [1..=255, 0, 1..=255, 0, ..] => return refused(&unmarked("UTF-16LE")),
            [0, 1..=255, 0, 1..=255, ..] => return refused(&unmarked("UTF-16BE")),
            _ => Kind::Plain,
        })
    }
}

fn unmarked(encoding: &str) -> String {
    format!(
        "this looks like {encoding} without a byte order mark: convert it with iconv -f {encoding} -t UTF-8"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let utf16 = |endian| Ok(Kind::Utf16(endian));
        let refused = |word: &str| Err(word.to_owned());
        let mut tar = vec![b'a'; TAR_AT];
        tar.extend_from_slice(b"ustar\x0000");
        for (head, expected) in [
            (&b""[..], Ok(Kind::Plain)),
            (b"{}", Ok(Kind::Plain)),
            (b"PK", Ok(Kind::Plain)),
            (b"BZh,item", Ok(Kind::Plain)),
            (b"\0\0\0\0\x07{", Ok(Kind::Plain)),
            (b"\x1f\x8b\x08", Ok(Kind::Gzip)),
            (b"\x28\xb5\x2f\xfd", Ok(Kind::Zstd)),
            (b"\xef\xbb\xbfa", Ok(Kind::MarkedUtf8)),
            (b"\xff\xfea\0", utf16(Endian::Little)),
            (b"\xfe\xff\0a", utf16(Endian::Big)),
            (b"\xff\xfe\0\0a\0\0\0", refused("UTF-32")),
            (b"a\0b\0", refused("UTF-16LE")),
            (b"\0a\0b", refused("UTF-16BE")),
            (b"PK\x03\x04\x14", refused("zip")),
            (b"PAR1\x15", refused("Parquet")),
            (b"BZh91AY&SY\x00", refused("bzip2")),
            (b"<?xml version", refused("XML")),
            (&tar, refused("tar")),
        ] {
            let found = Kind::of(head).map_err(|error| error.to_string());
            match (&found, &expected) {
                (Err(message), Err(word)) => assert!(message.contains(word.as_str()), "{message}"),
                _ => assert_eq!(found, expected, "{}", head.escape_ascii()),
            }
        }
    }
}
