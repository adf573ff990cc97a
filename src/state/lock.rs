//! The lock on a folder of snapshots: one job at a time reads, writes and prunes them.
//!
//! Both the folder itself and a file in it are locked. The folder cannot be removed without its content, so nobody
//! loses that lock by removing a file. The file serves file systems that cannot lock folders, and jobs of versions
//! that locked only the file. On a file system without locks, nothing is locked.

use super::StateError;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";

/// A lock on a folder, held until it is dropped.
pub(super) struct Lock {
    /// The locked files, the folder first.
    held: Vec<(PathBuf, File)>,
}

impl Lock {
    /// Locks a folder.
    ///
    /// # Errors
    /// If another process has locked it, or the file cannot be created.
    pub(super) fn take(folder: &Path) -> Result<Lock, StateError> {
        let place = folder.display().to_string();
        let failed = || StateError::store(format!("use {place} for snapshots"));
        let file = folder.join(LOCK);
        let mut lock = Lock { held: Vec::new() };
        let opened = File::open(folder).map_err(failed())?;
        lock.add(folder.to_owned(), opened, &place)?;
        let made = File::options().write(true).create(true).truncate(false).open(&file).map_err(failed())?;
        lock.add(file, made, &place)?;
        Ok(lock)
    }

    fn add(&mut self, path: PathBuf, file: File, place: &str) -> Result<(), StateError> {
        match file.try_lock() {
            Ok(()) => self.held.push((path, file)),
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { place: place.to_owned() }),
            Err(TryLockError::Error(error)) => tracing::debug!(path = %path.display(), %error, "not locked"),
        }
        Ok(())
    }

    /// Fails if the locked file or folder no longer exists: another job may have locked what replaced it.
    ///
    /// # Errors
    /// When the folder was removed or replaced, or, where folders cannot be locked, the file.
    pub(super) fn check(&self) -> io::Result<()> {
        let Some((path, file)) = self.held.first() else { return Ok(()) };
        match is_same(path, file) {
            true => Ok(()),
            false => {
                Err(io::Error::other(format!("{} was removed while the job held its lock", path.display())))
            }
        }
    }
}

#[cfg(unix)]
fn is_same(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(there), Ok(held)) = (fs::metadata(path), file.metadata()) else { return false };
    (there.dev(), there.ino()) == (held.dev(), held.ino())
}

#[cfg(not(unix))]
fn is_same(path: &Path, _file: &File) -> bool {
    fs::exists(path).is_ok_and(|exists| exists)
}
