//! A simulated disk that keeps synced data, and any part of the rest.
//!
//! ```text
//! names    a → 1  b → 2          as programs see them, and as they are after a crash: up to some change
//! files    1: synced ██████░░    a crash leaves a part of the data that is not synced
//! ```

use super::kill_switch::KillSwitch;
use super::sim_context::{Bug, Fault, SimContext};
use crate::state::folder::{Disk, Writing};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// The disk. Clones share it.
#[derive(Clone)]
pub(super) struct Platter(Arc<Mutex<Inner>>);

struct Inner {
    sim: SimContext,
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    /// The names at their last sync, and the names after each change since.
    safe: BTreeMap<String, usize>,
    changes: Vec<BTreeMap<String, usize>>,
    /// Snapshots that are safe, by their manifests, oldest first.
    promised: Vec<String>,
    /// Snapshots with a flipped bit. They are not safe.
    flipped: Vec<String>,
    /// The run that wrote each manifest.
    writers: BTreeMap<String, usize>,
    /// A manifest that has its name and is not synced yet.
    pending: Option<String>,
    /// How many more writes fail.
    full_for: u64,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

impl Platter {
    pub(super) fn new(sim: &SimContext) -> Platter {
        Platter(Arc::new(Mutex::new(Inner {
            sim: sim.clone(),
            files: Vec::new(),
            names: BTreeMap::new(),
            safe: BTreeMap::new(),
            changes: Vec::new(),
            promised: Vec::new(),
            flipped: Vec::new(),
            writers: BTreeMap::new(),
            pending: None,
            full_for: 0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Lets the power fail and return.
    pub(super) fn crash(&self) {
        let mut inner = self.inner();
        let Inner { sim, files, names, safe, changes, pending, .. } = &mut *inner;
        if !changes.is_empty() {
            let kept = sim.below(changes.len() as u64 + 1) as usize;
            *safe = changes[..kept].last().unwrap_or(safe).clone();
            changes.clear();
        }
        *names = safe.clone();
        *pending = None;
        for number in names.values() {
            let file = &mut files[*number];
            let loose = (file.bytes.len() - file.synced) as u64;
            if loose == 0 {
                continue;
            }
            sim.hit(Fault::Torn);
            let left = file.synced + sim.below(loose + 1) as usize;
            match sim.one_in(2) {
                true => file.bytes.truncate(left),
                // Its length survived, and its content did not.
                false => file.bytes[left..].fill(0),
            }
            file.synced = file.bytes.len();
        }
    }

    /// Flips a bit in a random file.
    pub(super) fn flip(&self) {
        let mut inner = self.inner();
        let Inner { sim, files, names, promised, flipped, .. } = &mut *inner;
        let kept: Vec<(&String, usize)> = names
            .iter()
            .map(|(name, number)| (name, *number))
            .filter(|it| !files[it.1].bytes.is_empty())
            .collect();
        if kept.is_empty() {
            return;
        }
        let (name, number) = kept[sim.below(kept.len() as u64) as usize];
        let place = sim.below(files[number].bytes.len() as u64) as usize;
        files[number].bytes[place] ^= 1 << sim.below(8);
        let snapshot = name.trim_start_matches(".aside-").split('.').next().unwrap_or_default().to_owned();
        promised.retain(|name| !name.starts_with(&snapshot));
        flipped.push(snapshot);
        sim.hit(Fault::BitFlipped);
    }

    /// Removes all files. No snapshot is expected any more.
    pub(super) fn empty(&self) {
        let mut inner = self.inner();
        (inner.names, inner.safe, inner.changes) = Default::default();
        inner.promised.clear();
        inner.flipped.clear();
        inner.pending = None;
    }

    /// Removes all files, or the manifests only. No snapshot is expected any more.
    pub(super) fn remove_some(&self) {
        let all = self.inner().sim.one_in(2);
        if all {
            return self.empty();
        }
        let mut inner = self.inner();
        inner.names.retain(|name, _file| !name.ends_with(".json"));
        (inner.safe, inner.changes) = (inner.names.clone(), Vec::new());
        inner.promised.clear();
        inner.pending = None;
    }

    /// Ends the time in which the disk is full.
    pub(super) fn free(&self) {
        self.inner().full_for = 0;
    }

    /// The newest snapshot that was safe and has not been damaged since.
    pub(super) fn promised(&self) -> Option<String> {
        self.inner().promised.last().cloned()
    }

    /// The run that wrote a manifest.
    pub(super) fn writer(&self, manifest: &str) -> Option<usize> {
        self.inner().writers.get(manifest).copied()
    }

    /// The newest snapshot that has a manifest.
    pub(super) fn newest(&self) -> Option<String> {
        self.inner().names.keys().rfind(|name| name.ends_with(".json")).cloned()
    }
}

/// The disk as one run of the job sees it.
pub(super) struct Drive {
    pub(super) platter: Platter,
    pub(super) kill_switch: KillSwitch,
}

impl Drive {
    /// Begins a call. It fails if the run was killed, or if the call writes and the disk is full.
    fn call(&self, writes: bool) -> io::Result<MutexGuard<'_, Inner>> {
        self.kill_switch.burn().map_err(io::Error::other)?;
        let mut inner = self.platter.inner();
        if writes {
            if inner.full_for == 0 && inner.sim.strikes(Fault::DiskFull) {
                inner.full_for = 1 + inner.sim.below(10);
            }
            if inner.full_for > 0 {
                inner.full_for -= 1;
                self.kill_switch.excuse();
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(inner)
    }
}

impl Inner {
    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>) -> Option<usize>) {
        change(&mut self.names);
        self.changes.push(self.names.clone());
    }
}

impl Disk for Drive {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.call(false)?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let inner = self.call(false)?;
        let number = inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(inner.files[*number].bytes.clone())))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writing>> {
        let mut inner = self.call(true)?;
        let number = inner.files.len();
        inner.files.push(File::default());
        inner.rename(|names| names.insert(name.to_owned(), number));
        let drive = Drive { platter: self.platter.clone(), kill_switch: self.kill_switch.clone() };
        Ok(Box::new(Open { drive, number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.call(false)?;
        let number = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.rename(|names| names.insert(to.to_owned(), number));
        inner.pending = to.ends_with(".json").then(|| to.to_owned());
        inner.writers.insert(to.to_owned(), self.kill_switch.run());
        inner.sim.note(format_args!("{} has {to}", self.kill_switch.run()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.call(false)?;
        if !inner.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.rename(|names| names.remove(name));
        // Older snapshots may be pruned; the newest must not be.
        if inner.promised.last().is_some_and(|newest| newest != name) {
            inner.promised.retain(|promised| promised != name);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.call(false)?;
        let pending = inner.pending.take();
        let is_whole = |name: &String| !inner.flipped.iter().any(|flipped| name.starts_with(flipped));
        let promised = pending.filter(is_whole);
        inner.promised.extend(promised);
        if inner.sim.has(Bug::RenameWithoutSync) {
            return Ok(());
        }
        inner.safe = inner.names.clone();
        inner.changes.clear();
        Ok(())
    }
}

struct Open {
    drive: Drive,
    number: usize,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.drive.call(true)?;
        // A write takes a random part of the bytes.
        let some = (1 + inner.sim.below(500) as usize).min(bytes.len());
        inner.files[self.number].bytes.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writing for Open {
    fn sync(&self) -> io::Result<()> {
        let mut inner = self.drive.call(true)?;
        if !inner.sim.has(Bug::RenameWithoutSync) {
            let file = &mut inner.files[self.number];
            file.synced = file.bytes.len();
        }
        Ok(())
    }
}
