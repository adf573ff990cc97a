//! A file's bytes, decompressed, a piece at a time.
//!
//! Regular files are read by whoever asks. Standard input and pipes, where a read may wait for ever, are read by a
//! thread of their own, a bounded number of pieces ahead. gzip (of any number of members) and zstd (of any number of
//! frames) are recognised by their first bytes, and so is UTF-16; a byte order mark is taken off.

use super::kind::{HEAD_BYTES, Kind};
use super::progress::FileProgress;
use super::read::read_some;
use super::tables::Tables;
use super::utf16::Utf16;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TryRecvError};
use std::thread::{self, Thread};

/// Large enough that a call to the system costs nothing beside it.
const PIECE_BYTES: usize = 256 << 10;
/// How many pieces the thread of a pipe reads ahead: enough to overlap, little to hold.
const PIECES_AHEAD: usize = 4;

/// What can be had of a file without waiting.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// The next bytes, at least one.
    Bytes(&'a [u8]),
    /// None now; perhaps later.
    Nothing,
    /// None any more.
    End,
}

/// The bytes of one input.
pub(super) struct Content {
    from: From,
    piece: Vec<u8>,
    /// The bytes of `piece` that have not been consumed.
    left: std::ops::Range<usize>,
}

enum From {
    Here(Box<dyn Read>),
    Thread(Pump),
    Ended,
}

struct Pump {
    /// An empty piece says that the input has ended.
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that have been consumed go back to be filled again.
    spare: Sender<Vec<u8>>,
}

impl Content {
    /// Opens a regular file; of one that is a table, the text of its rows.
    pub(super) fn of_file(path: &Path, tables: Tables, progress: &FileProgress) -> io::Result<Content> {
        if let Some(rows) = rows(path, tables, progress)? {
            return Ok(Content::new(From::Here(rows)));
        }
        let counted = Counted { file: File::open(path)?, progress: progress.clone() };
        Ok(Content::new(From::Here(decompress(counted)?)))
    }

    /// Begins to read standard input (no path), or something that may make a reader wait.
    pub(super) fn of_pipe(path: Option<PathBuf>) -> io::Result<Content> {
        let (pieces_sender, pieces) = mpsc::sync_channel(PIECES_AHEAD);
        let (spare, spare_receiver) = mpsc::channel();
        let reader = thread::current();
        thread::Builder::new()
            .name("pipe-reader".into())
            .spawn(move || pump(path.as_deref(), &pieces_sender, &spare_receiver, &reader))?;
        Ok(Content::new(From::Thread(Pump { pieces, spare })))
    }

    fn new(from: From) -> Content {
        Content { from, piece: Vec::new(), left: 0..0 }
    }

    /// The bytes that have not been consumed, more of them being read only when there are none.
    pub(super) fn fill(&mut self) -> io::Result<Piece<'_>> {
        if self.left.is_empty() {
            let length = match &mut self.from {
                From::Here(reader) => {
                    self.piece.resize(PIECE_BYTES, 0);
                    read_some(reader, &mut self.piece)?
                }
                From::Thread(pump) => match pump.pieces.try_recv() {
                    Ok(piece) => {
                        // The thread is gone once it has read all: then nobody needs the spare.
                        let _ = pump.spare.send(std::mem::replace(&mut self.piece, piece?));
                        self.piece.len()
                    }
                    Err(TryRecvError::Empty) => return Ok(Piece::Nothing),
                    Err(TryRecvError::Disconnected) => {
                        return Err(io::Error::other("its reader ended before it did"));
                    }
                },
                From::Ended => 0,
            };
            self.left = 0..length;
            if length == 0 {
                self.from = From::Ended;
                return Ok(Piece::End);
            }
        }
        Ok(Piece::Bytes(&self.piece[self.left.clone()]))
    }

    /// Says that the first `bytes` of what `fill` returned are done with.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.left.start += bytes;
    }
}

/// The rows of a file that is a table.
#[cfg(feature = "parquet")]
fn rows(path: &Path, tables: Tables, progress: &FileProgress) -> io::Result<Option<Box<dyn Read>>> {
    use super::parquet::{MAGIC, Rows};
    let mut head = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    if head != MAGIC {
        return Ok(None);
    }
    Ok(Some(Box::new(Rows::new(File::open(path)?, tables, progress.clone())?)))
}

/// Without the feature there is none: such a file is refused by its first bytes.
#[cfg(not(feature = "parquet"))]
fn rows(_path: &Path, _tables: Tables, _progress: &FileProgress) -> io::Result<Option<Box<dyn Read>>> {
    Ok(None)
}

/// The work of a pipe's thread, which wakes the reader for each piece. It ends when the input does, or when nobody
/// listens any more.
fn pump(
    path: Option<&Path>,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
    spare: &Receiver<Vec<u8>>,
    reader: &Thread,
) {
    let opened = match path {
        None => decompress(io::stdin()),
        Some(path) => File::open(path).and_then(decompress),
    };
    let mut ended = false;
    match opened {
        Err(error) => {
            // Nobody may listen any more.
            let _ = pieces.send(Err(error));
            reader.unpark();
        }
        Ok(mut content) => {
            while !ended {
                let mut piece = spare.try_recv().unwrap_or_default();
                piece.resize(PIECE_BYTES, 0);
                let read = read_some(&mut content, &mut piece).map(|length| {
                    piece.truncate(length);
                    piece
                });
                ended = !matches!(&read, Ok(piece) if !piece.is_empty());
                ended |= pieces.send(read).is_err();
                reader.unpark();
            }
        }
    }
}

/// The text of what may be compressed. Reads the first bytes, so it may wait and it may fail.
fn decompress(raw: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let (kind, raw) = recognise(raw)?;
    match kind {
        Kind::Gzip => text(MultiGzDecoder::new(BufReader::with_capacity(PIECE_BYTES, raw))),
        Kind::Zstd => text(zstd::Decoder::new(raw)?),
        Kind::MarkedUtf8 | Kind::Utf16(_) | Kind::Plain => text(raw),
    }
}

/// The text of `content` in UTF-8, without a byte order mark: spreadsheets put it first, and as part of the first
/// record it would spoil a name or a brace.
fn text(content: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let (kind, mut content) = recognise(content)?;
    let mark_bytes = match kind {
        Kind::MarkedUtf8 => 3,
        Kind::Utf16(_) => 2,
        Kind::Gzip | Kind::Zstd | Kind::Plain => 0,
    };
    content.read_exact(&mut [0; 3][..mark_bytes])?;
    Ok(match kind {
        Kind::Utf16(endian) => Box::new(Utf16::new(content, endian)),
        _ => Box::new(content),
    })
}

/// What the input is, and all of it. Waits for no more bytes than tell compression and encoding.
fn recognise<R: Read>(mut input: R) -> io::Result<(Kind, impl Read + use<R>)> {
    const ENOUGH_BYTES: usize = 4;
    let mut head = [0; HEAD_BYTES];
    let mut length = 0;
    while length < ENOUGH_BYTES {
        match read_some(&mut input, &mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let kind = Kind::of(&head[..length])?;
    Ok((kind, Cursor::new(head).take(length as u64).chain(input)))
}

/// A file that says how far it has been read, in bytes as they are on disk.
struct Counted {
    file: File,
    progress: FileProgress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.progress.add_read(length as u64);
        Ok(length)
    }
}
