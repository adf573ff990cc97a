//! Blocks of bytes, one after the other, each compressed and with a checksum.
//!
//! ```text
//! kind u8 │ stored u32 │ raw u32 │ crc32 u32 │ stored bytes: the raw bytes, compressed by zstd    little-endian
//!         └──────────── the checksum covers everything else in the block ───────────
//! ```
//!
//! Reading is total: any bytes give a block or an error, and no allocation is larger than about [`RAW_BYTES_MAX`].

use std::io::{self, Read, Write};

/// The largest content of a block, in bytes.
pub(super) const RAW_BYTES_MAX: usize = 16 << 20;

/// A fast level that still shrinks rows of ids to a third.
const ZSTD_LEVEL: i32 = 1;

const HEADER_BYTES: usize = 13;

/// A flag in the kind of a block: it is not compressed.
#[cfg(feature = "abomonation")]
pub(super) const PLAIN: u8 = 0x80;

fn is_plain(kind: u8) -> bool {
    #[cfg(feature = "abomonation")]
    return kind & PLAIN != 0;
    #[cfg(not(feature = "abomonation"))]
    return {
        let _ = kind;
        false
    };
}

/// Writes one block.
pub(super) fn write_block(out: &mut dyn Write, kind: u8, raw: &[u8]) -> io::Result<()> {
    if raw.len() > RAW_BYTES_MAX {
        let what = format!("a block of {} bytes is too large", raw.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let compressed = if is_plain(kind) { None } else { Some(zstd::bulk::compress(raw, ZSTD_LEVEL)?) };
    let stored = compressed.as_deref().unwrap_or(raw);
    let mut header = [0; HEADER_BYTES];
    header[0] = kind;
    header[1..5].copy_from_slice(&(stored.len() as u32).to_le_bytes());
    header[5..9].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    let checksum = checksum(&header[..9], stored);
    header[9..].copy_from_slice(&checksum.to_le_bytes());
    out.write_all(&header)?;
    out.write_all(stored)
}

/// Reads the next block into `raw` and returns its kind. Returns `None` if the input ends between two blocks. Bytes
/// that are no block are an error of the kind `InvalidData`.
pub(super) fn read_block(from: &mut dyn Read, raw: &mut Vec<u8>) -> io::Result<Option<u8>> {
    let mut header = [0; HEADER_BYTES];
    let first = from.read(&mut header[..1])?;
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[1..]).map_err(torn)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (stored_bytes, raw_bytes) = (number(1) as usize, number(5) as usize);
    if raw_bytes > RAW_BYTES_MAX || stored_bytes > zstd::zstd_safe::compress_bound(RAW_BYTES_MAX) {
        return Err(invalid("a block has an impossible length"));
    }
    // The buffer grows with the bytes read, so a wrong length allocates nothing.
    let mut stored = Vec::new();
    from.take(stored_bytes as u64).read_to_end(&mut stored)?;
    if stored.len() < stored_bytes {
        return Err(invalid("it ends in the middle of a block"));
    }
    if checksum(&header[..9], &stored) != number(9) {
        return Err(invalid("a block has a wrong checksum"));
    }
    let content = match is_plain(header[0]) {
        true => stored,
        false => {
            zstd::bulk::decompress(&stored, raw_bytes).map_err(|_| invalid("a block does not decompress"))?
        }
    };
    if content.len() != raw_bytes {
        return Err(invalid("a block is shorter than it says"));
    }
    *raw = content;
    Ok(Some(header[0]))
}

fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(stored);
    hasher.finalize()
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn torn(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it ends in the middle of a block"),
        _ => error,
    }
}
