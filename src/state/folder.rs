//! A folder as a store: written aside, synced, renamed, and the folder synced.
//!
//! ```text
//! .aside-snapshot-7.part-0 ── write, fsync ──▶ rename ──▶ snapshot-7.part-0 ──▶ fsync of the folder
//! ```
//!
//! # Notes
//! The first process of a job holds a [lock](super::lock) on the folder as long as it lives, so no two jobs use one.

use super::StateError;
use super::lock::Lock;
use super::store::{Put, Store};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is being written has this before its name, and is not listed.
const ASIDE: &str = ".aside-";

/// Bytes of a file that are read or written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What a folder asks of the file system it lies on.
pub(crate) trait Disk: Send + Sync {
    /// The names of all files, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Reads a file.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Begins a file, in the place of one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writing>>;

    /// Gives a file another name, in the place of one of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names safe: a crash of the machine does not change them any more.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being written.
pub(crate) trait Writing: Write + Send {
    /// Makes safe what has been written.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the operating system.
struct Os {
    path: PathBuf,
    /// ConsumerState by whoever has claimed the folder. Without it nothing is changed there any more.
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
            // What is not ours may have any name.
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

/// A folder.
pub struct Folder {
    disk: Arc<dyn Disk>,
    place: PathBuf,
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
        let lock = claim.then(|| Lock::take(path)).transpose()?;
        Folder::on(Arc::new(Os { path: path.to_owned(), lock }), path, claim)
    }

    /// The same on any disk, where nobody else is.
    pub(crate) fn on(disk: Arc<dyn Disk>, path: &Path, claim: bool) -> Result<Folder, StateError> {
        let folder = Folder { disk, place: path.to_owned() };
        let failed = || StateError::store(format!("use {} for snapshots", folder.place()));
        if claim {
            for name in folder.names().map_err(failed())?.iter().filter(|name| name.starts_with(ASIDE)) {
                folder.remove(name).map_err(failed())?;
            }
        }
        // That it can be written to is to be known now, not when the first snapshot is due. A peer may look as well.
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

/// A file that has not got its name yet.
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
        // Once renamed, it is not there. What cannot be removed now is when the folder is claimed next.
        let _ = self.disk.remove(&self.aside);
    }
}
