//! Where snapshots lie: things with a name, each there whole or not at all.

use super::StateError;
use std::io::{self, Read, Write};

/// A place for snapshots. All processes of a job see the same.
pub trait Store: Send + Sync {
    /// What the place is called in messages.
    fn place(&self) -> String;

    /// The names of all things that are there.
    fn list(&self) -> Result<Vec<String>, StateError>;

    /// Reads a thing from its beginning.
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError>;

    /// Begins to write a thing; one of that name stays as it is until the new one is committed.
    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError>;

    /// Removes a thing. It may be gone already.
    fn delete(&self, name: &str) -> Result<(), StateError>;
}

/// A thing that is being written. Dropped without a commit, it never was.
pub trait Put: Write + Send {
    /// Makes it be there: when this returns, a crash of the machine does not take it away any more.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// Writes a small thing.
pub(super) fn put_whole(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let mut put = store.put(name)?;
    let written = put.write_all(bytes).and_then(|()| put.commit());
    written.map_err(StateError::store(format!("write {name} to {}", store.place())))
}

/// Reads a small thing.
pub(super) fn get_whole(store: &dyn Store, name: &str, bytes_max: u64) -> Result<Vec<u8>, StateError> {
    let mut bytes = Vec::new();
    let read = store.get(name)?.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(StateError::store(format!("read {name} of {}", store.place())))?;
    if bytes.len() as u64 > bytes_max {
        return Err(StateError::damaged(name, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}
