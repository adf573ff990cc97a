//! A folder as a store: written aside, synced, renamed, and the folder synced.
//!
//! ```text
//! .aside-snapshot-7.part-0 ── write, fsync ──▶ rename ──▶ snapshot-7.part-0 ──▶ fsync of the folder
//! ```
//!
//! # Notes
//! The first process of a job holds a lock on the folder as long as it lives, so two jobs do not write to one. Where a
//! file system knows no locks, nothing is locked.

use super::StateError;
use super::store::{Put, Store};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What is being written has this before its name, and the lock; neither is listed.
const ASIDE: &str = ".aside-";
const LOCK: &str = ".lock";

/// Bytes of a file that are read or written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A folder.
pub struct Folder {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: Option<File>,
}

impl Folder {
    /// The folder of this path, which is made if it is missing. With `claim`, it is this process's alone, and what a
    /// killed one left half written is removed.
    ///
    /// # Errors
    /// If it cannot be made, listed or written to, or if it is claimed already.
    pub fn open(path: &Path, claim: bool) -> Result<Folder, StateError> {
        let place = path.display().to_string();
        let failed = || StateError::store(format!("use {place} for snapshots"));
        fs::create_dir_all(path).map_err(failed())?;
        let mut folder = Folder { path: path.to_owned(), _lock: None };
        if claim {
            let lock = File::create(path.join(LOCK)).map_err(failed())?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StateError::InUse { place }),
                Err(TryLockError::Error(error)) => tracing::debug!(place, %error, "not locked"),
            }
            folder._lock = Some(lock);
            for name in folder.names().map_err(failed())?.iter().filter(|name| name.starts_with(ASIDE)) {
                remove(&path.join(name)).map_err(failed())?;
            }
        }
        // That it can be written to is to be known now, not when the first snapshot is due. A peer may look as well.
        let trial = path.join(format!("{ASIDE}trial-{}", std::process::id()));
        let written = File::create(&trial).and_then(|mut file| file.write_all(b"a trial"));
        let removed = remove(&trial);
        written.and(removed).map_err(failed())?;
        folder.list()?;
        Ok(folder)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // What is not ours may have any name.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn failed(&self, verb: &str, name: &str) -> impl FnOnce(io::Error) -> StateError {
        StateError::store(format!("{verb} {}", self.path.join(name).display()))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Store for Folder {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        let mut names = self.names().map_err(self.failed("list", ""))?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError> {
        let file = File::open(self.path.join(name)).map_err(self.failed("read", name))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError> {
        let aside = self.path.join(format!("{ASIDE}{name}"));
        let file = File::create(&aside).map_err(self.failed("write", name))?;
        let (path, folder) = (self.path.join(name), self.path.clone());
        Ok(Box::new(Aside { file: BufWriter::with_capacity(BUFFER_BYTES, file), aside, path, folder }))
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        remove(&self.path.join(name)).map_err(self.failed("remove", name))
    }
}

/// A file that has not got its name yet.
struct Aside {
    file: BufWriter<File>,
    aside: PathBuf,
    path: PathBuf,
    folder: PathBuf,
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Put for Aside {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.aside, &self.path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Once renamed, it is not there. What cannot be removed now is when the folder is claimed next.
        let _ = fs::remove_file(&self.aside);
    }
}
