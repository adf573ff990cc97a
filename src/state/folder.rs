//! A folder as a store: a file is written under a temporary name, synced and renamed, and the folder is synced.
//!
//! ```text
//! .aside-snapshot-7.part-0 ── write, fsync ──▶ rename ──▶ snapshot-7.part-0 ──▶ fsync of the folder
//! ```
//!
//! # Notes
//! The first process of a job holds a [lock](super::lock) on the folder for its lifetime, so no two jobs share a
//! folder.

use super::StateError;
use super::lock::Lock;
use super::store::{Put, Store};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The prefix of the temporary name of a file that is being written. Such files are not listed.
const ASIDE: &str = ".aside-";

/// The size, in bytes, of the buffer for reading or writing a file.
const BUFFER_BYTES: usize = 256 << 10;

/// The operations on the file system that a folder needs. The simulator brings its own.
pub(crate) trait Disk: Send + Sync {
    /// The names of all files, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Creates a file, or replaces the one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writing>>;

    /// Renames a file. It replaces a file with the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: they survive a crash of the machine.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being written.
pub(crate) trait Writing: Write + Send {
    /// Makes durable what has been written.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the operating system.
struct Os {
    path: PathBuf,
    /// Held by the process that claimed the folder. If the lock is lost, nothing is changed there any more.
    lock: Option<Lock>,
}

impl Os {
    fn check_lock(&self) -> io::Result<()> {
        self.lock.as_ref().map_or(Ok(()), Lock::check)
    }
}

impl Disk for Os {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Files of others may have names that are not UTF-8. They are skipped.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let file = File::open(self.path.join(name))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writing>> {
        self.check_lock()?;
        Ok(Box::new(File::create(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_lock()?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_lock()?;
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Writing for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A store in a folder.
pub struct Folder {
    disk: Arc<dyn Disk>,
    place: PathBuf,
}

impl Folder {
    /// Opens the folder at `path`, or creates it. With `claim`, the process locks the folder, and removes files that
    /// a killed process left incomplete.
    ///
    /// # Errors
    /// If the folder cannot be created, listed or written to, or if another process has claimed it.
    pub fn open(path: &Path, claim: bool) -> Result<Folder, StateError> {
        let place = path.display().to_string();
        let failed = || StateError::store(format!("use {place} for snapshots"));
        fs::create_dir_all(path).map_err(failed())?;
        let lock = claim.then(|| Lock::take(path)).transpose()?;
        Folder::on(Arc::new(Os { path: path.to_owned(), lock }), path, claim)
    }

    /// Opens a folder on any disk, without a lock.
    pub(crate) fn on(disk: Arc<dyn Disk>, path: &Path, claim: bool) -> Result<Folder, StateError> {
        let folder = Folder { disk, place: path.to_owned() };
        let failed = || StateError::store(format!("use {} for snapshots", folder.place()));
        if claim {
            for name in folder.names().map_err(failed())?.iter().filter(|name| name.starts_with(ASIDE)) {
                folder.remove(name).map_err(failed())?;
            }
        }
        // Check now that the folder can be written to, not when the first snapshot is due. Another process of the job
        // may do the same at the same time.
        let trial = format!("{ASIDE}trial-{}", std::process::id());
        let written = folder.disk.create(&trial).and_then(|mut file| file.write_all(b"a trial"));
        let removed = folder.remove(&trial);
        written.and(removed).map_err(failed())?;
        folder.list()?;
        Ok(folder)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.names()?;
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn failed(&self, verb: &str, name: &str) -> impl FnOnce(io::Error) -> StateError {
        StateError::store(format!("{verb} {}", self.place.join(name).display()))
    }
}

impl Store for Folder {
    fn place(&self) -> String {
        self.place.display().to_string()
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        let mut names = self.names().map_err(self.failed("list", ""))?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError> {
        self.disk.open(name).map_err(self.failed("read", name))
    }

    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError> {
        let (disk, aside, name) = (Arc::clone(&self.disk), format!("{ASIDE}{name}"), name.to_owned());
        let file = disk.create(&aside).map_err(self.failed("write", &name))?;
        Ok(Box::new(Aside { file: BufWriter::with_capacity(BUFFER_BYTES, file), disk, aside, name }))
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        self.remove(name).map_err(self.failed("remove", name))
    }
}

/// A file that still has its temporary name.
struct Aside {
    file: BufWriter<Box<dyn Writing>>,
    disk: Arc<dyn Disk>,
    aside: String,
    name: String,
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
        self.file.get_ref().sync()?;
        self.disk.rename(&self.aside, &self.name)?;
        self.disk.sync()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After the rename it does not exist. If it cannot be removed now, the next claim of the folder removes it.
        let _ = self.disk.remove(&self.aside);
    }
}
