//! Parts and manifests that are whole, torn or flipped; stores that fail; which snapshot is used, and which are kept.

mod parts;
mod snapshots;
mod stores;

use super::StateError;
use super::manifest::{StateSettings, StateShape, StreamState};
use super::store::{Put, Store};
use deltacart_dataflows::{BasketCopy, LineTouch, Name, Partition, Touch, Units};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};

/// A store in memory that is full after a set number of bytes.
#[derive(Clone)]
struct Memory {
    things: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    room: Arc<Mutex<usize>>,
}

impl Memory {
    fn new() -> Memory {
        Memory { things: Arc::default(), room: Arc::new(Mutex::new(usize::MAX)) }
    }

    fn set_room(&self, bytes: usize) {
        *self.room.lock().unwrap() = bytes;
    }

    fn names(&self) -> Vec<String> {
        self.things.lock().unwrap().keys().cloned().collect()
    }
}

impl Store for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        Ok(self.names())
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError> {
        let things = self.things.lock().unwrap();
        let missing = || StateError::store(format!("read {name}"))(io::ErrorKind::NotFound.into());
        Ok(Box::new(Cursor::new(things.get(name).ok_or_else(missing)?.clone())))
    }

    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError> {
        Ok(Box::new(MemoryPut { store: self.clone(), name: name.to_owned(), bytes: Vec::new() }))
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        self.things.lock().unwrap().remove(name);
        Ok(())
    }
}

struct MemoryPut {
    store: Memory,
    name: String,
    bytes: Vec<u8>,
}

impl Write for MemoryPut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.store.room.lock().unwrap();
        *room = room.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Put for MemoryPut {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.store.things.lock().unwrap().insert(self.name, self.bytes);
        Ok(())
    }
}

fn settings(all: &[(&str, &str)]) -> StateSettings {
    all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn stream(name: &str, all: &[(&str, &str)]) -> StreamState {
    StreamState { name: name.to_owned(), settings: settings(all), topic_id: None }
}

/// The shape of a job of two streams.
fn shape() -> StateShape {
    let streams = vec![stream("kafka:carts", &[("format", "json")]), stream("files", &[("format", "csv")])];
    StateShape { settings: settings(&[("max-basket-items", "5")]), streams }
}

fn partition(stream: u8, number: u32) -> Partition {
    Partition::new(stream, number).unwrap()
}

fn name(text: impl std::fmt::Display) -> Name {
    text.to_string().into()
}

/// A basket with this many lines and users.
fn basket(number: usize, lines: usize, users: usize) -> BasketCopy {
    let line = |line: usize| {
        let units = Units { cart: line as u32, bought: 1, viewed: line.is_multiple_of(3) };
        (name(format_args!("i{}", line * 7 % 2000)), units)
    };
    BasketCopy {
        basket: name(format_args!("basket {number}")),
        partition: partition(number as u8 % 2, number as u32 % 3),
        clock: 70_000,
        last: number as u64 * 1000,
        touch: Some(Touch { time: number as u64 * 1000, offset: number as u64, ..Touch::default() }),
        users: (0..users).map(|user| name(format_args!("user {user} of {number}"))).collect(),
        lines: (0..lines).map(line).collect(),
        touches: (0..lines).map(|line| LineTouch::Before((line as u32 + 1) % lines as u32)).collect(),
    }
}
