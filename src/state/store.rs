//! The storage of snapshots: named objects, each there whole or not at all.

use super::StateError;
use std::io::{self, Read, Write};

/// A store of snapshots. All processes of a job see the same objects.
pub trait Store: Send + Sync {
    /// The name of the store in messages.
    fn place(&self) -> String;

    /// The names of all objects.
    fn list(&self) -> Result<Vec<String>, StateError>;

    /// Opens an object for reading from its beginning.
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError>;

    /// Begins to write an object. An existing one of that name stays as it is until the new one is committed.
    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError>;

    /// Deletes an object. It is no error if it does not exist.
    fn delete(&self, name: &str) -> Result<(), StateError>;
}

/// An object that is being written. It does not come into existence if this is dropped without a commit.
pub trait Put: Write + Send {
    /// Makes the object exist. When this returns, it survives a crash of the machine.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// Writes a small object in one go.
pub(super) fn put_whole(store: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), StateError> {
    let mut put = store.put(name)?;
    let written = put.write_all(bytes).and_then(|()| put.commit());
    written.map_err(StateError::store(format!("write {name} to {}", store.place())))
}

/// Reads a small object, of at most `bytes_max` bytes.
pub(super) fn get_whole(store: &dyn Store, name: &str, bytes_max: u64) -> Result<Vec<u8>, StateError> {
    let mut bytes = Vec::new();
    let read = store.get(name)?.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(StateError::store(format!("read {name} of {}", store.place())))?;
    if bytes.len() as u64 > bytes_max {
        return Err(StateError::damaged(name, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}
