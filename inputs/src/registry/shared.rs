//! What the decoders of a process share: the schemas that are known, and those that are wanted.

use super::address::Address;
use super::asker;
use super::client::Client;
use super::folder::Folder;
use super::schema::Schema;
use super::{Readiness, RegistryError, RegistryStatus};
use crate::decode::{Framed, Limits, Reason, Reject, SchemaId};
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread, ThreadId};
use std::time::{Duration, Instant};

/// How many schemas are kept: beyond, all are forgotten, and asked for again as they are needed. A topic has a few.
const SCHEMAS_MAX: usize = 1000;
/// How many schemas may be asked for at a time: a reader that finds no room comes again.
const WANTED_MAX: usize = 64;
/// How long it is held against an id that there was no schema of it.
const MISSING_FOR: Duration = Duration::from_secs(60);

/// A schema registry. Clones share what is known; the thread that asks ends with the last of them.
#[derive(Clone)]
pub struct Registry(Arc<Handle>);

/// The one end of [`Shared`] that closes it when it is dropped.
struct Handle(Arc<Shared>);

/// What the readers and the thread that asks have in common.
pub(super) struct Shared {
    pub(super) place: Place,
    /// The place, for a person.
    pub(super) name: String,
    state: Mutex<State>,
    /// Somebody wants a schema, or nobody will any more.
    changed: Condvar,
}

/// Where schemas are.
pub(super) enum Place {
    Registry(Client),
    Folder(Folder),
}

#[derive(Default)]
struct State {
    found: HashMap<SchemaId, Finding, RandomState>,
    /// In the order in which they are asked for; the first one is under way.
    wanted: VecDeque<SchemaId>,
    /// Who waits for one of them.
    readers: HashMap<ThreadId, Thread>,
    /// Why nobody will get an answer any more.
    refused: Option<String>,
    is_asking: bool,
    is_closed: bool,
    status: RegistryStatus,
}

/// What is known of an id, and since when.
#[derive(Clone)]
struct Finding {
    outcome: Outcome,
    at: Instant,
}

#[derive(Clone)]
pub(super) enum Outcome {
    Known(Arc<Schema>),
    Missing,
    /// It is there, and cannot be used.
    Unusable(Arc<str>),
}

impl Finding {
    /// What is not there now may be there later.
    fn is_fresh(&self) -> bool {
        matches!(self.outcome, Outcome::Known(_)) || self.at.elapsed() < MISSING_FOR
    }
}

impl Registry {
    /// The registry at an `http` or `https` address, or a folder of schemas. The user and password may stand in the
    /// address or in the file `login`; no message and no `Debug` output holds them. Nothing is asked before the first
    /// schema is wanted.
    pub fn new(place: &str, login: Option<&Path>) -> Result<Registry, RegistryError> {
        let (place, name) = if !place.contains("://") && Path::new(place).is_dir() {
            if login.is_some() {
                return Err(RegistryError(
                    "--schema-registry-login goes with an address, not with a folder".into(),
                ));
            }
            (Place::Folder(Folder(place.into())), place.to_owned())
        } else {
            let address = Address::new(place, login)?;
            let name = address.base.clone();
            (Place::Registry(Client::new(address)), name)
        };
        let shared = Shared { place, name, state: Mutex::default(), changed: Condvar::new() };
        Ok(Registry(Arc::new(Handle(Arc::new(shared)))))
    }

    /// How it does.
    pub fn status(&self) -> RegistryStatus {
        let state = self.0.0.lock();
        RegistryStatus { schemas: state.found.len() as u64, ..state.status }
    }

    pub(crate) fn schemas(&self) -> Schemas {
        Schemas { registry: self.clone(), known: HashMap::default() }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.0.0.name).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// What is kept is valid after every assignment, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an id. Where that is nothing, it is asked for, and the calling thread is woken when it is.
    fn find(self: &Arc<Shared>, id: SchemaId) -> Result<Option<Finding>, RegistryError> {
        let mut state = self.lock();
        if let Some(finding) = state.found.get(&id).filter(|finding| finding.is_fresh()) {
            return Ok(Some(finding.clone()));
        }
        if let Some(refused) = &state.refused {
            return Err(RegistryError(refused.clone()));
        }
        let reader = thread::current();
        state.readers.insert(reader.id(), reader);
        if !state.wanted.contains(&id) && state.wanted.len() < WANTED_MAX {
            state.wanted.push_back(id);
            state.status.requests += 1;
        }
        if !state.is_asking {
            let shared = Arc::clone(self);
            let asking = thread::Builder::new().name("schemas".to_owned()).spawn(move || asker::run(&shared));
            asking
                .map_err(|error| RegistryError(format!("no thread to ask the schema registry: {error}")))?;
            state.is_asking = true;
        }
        self.changed.notify_all();
        Ok(None)
    }

    /// The next schema to ask for; waits until there is one. `None` when nobody wants any, ever.
    pub(super) fn next(&self) -> Option<SchemaId> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(id) = state.wanted.front() {
                return Some(*id);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes in what came of a question, and wakes those who waited for it.
    pub(super) fn tell(&self, id: SchemaId, outcome: Outcome) {
        let mut state = self.lock();
        state.wanted.retain(|wanted| *wanted != id);
        if state.found.len() >= SCHEMAS_MAX {
            state.found.clear();
        }
        state.found.insert(id, Finding { outcome, at: Instant::now() });
        state.status.is_away = false;
        state.wake();
    }

    /// There will be no more answers: whoever asks is to hear why.
    pub(super) fn refuse(&self, why: String) {
        let mut state = self.lock();
        state.refused = Some(why);
        state.wake();
    }

    /// There was no answer: another schema comes first next time. Waits before that, but no longer than anybody wants
    /// one.
    pub(super) fn put_off(&self, pause: Duration) {
        let mut state = self.lock();
        state.status.is_away = true;
        state.status.failures += 1;
        if !state.wanted.is_empty() {
            state.wanted.rotate_left(1);
        }
        let until = Instant::now() + pause;
        while !state.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn wake(&mut self) {
        self.readers.drain().for_each(|(_id, reader)| reader.unpark());
    }
}

/// A decoder's view of a registry: what it has met itself, without a lock.
pub(crate) struct Schemas {
    registry: Registry,
    known: HashMap<SchemaId, Finding, RandomState>,
}

impl Schemas {
    /// Sees to it that a schema can be used, or that it is known why not.
    pub(crate) fn prepare(&mut self, id: SchemaId) -> Result<Readiness, RegistryError> {
        if self.known.get(&id).is_some_and(Finding::is_fresh) {
            return Ok(Readiness::Ready);
        }
        let Some(finding) = self.registry.0.0.find(id)? else { return Ok(Readiness::Waiting) };
        if self.known.len() >= SCHEMAS_MAX {
            self.known.clear();
        }
        self.known.insert(id, finding);
        Ok(Readiness::Ready)
    }

    /// The JSON text of a value whose schema was prepared; in `text`, unless it is the value itself.
    pub(crate) fn read<'b>(
        &mut self,
        framed: &Framed<'_>,
        payload: &'b [u8],
        text: &'b mut Vec<u8>,
        limits: &Limits,
    ) -> Result<&'b [u8], Reject> {
        let id = framed.schema;
        let finding = self.known.get(&id).expect("whoever decodes a record has prepared it");
        let place = &self.registry.0.0.name;
        match &finding.outcome {
            Outcome::Known(schema) => schema.read(framed, payload, text, limits),
            Outcome::Missing => {
                let detail = format!("{id}, which {} names, is not in the registry at {place}", framed.by);
                Err(Reject::new(Reason::UnknownSchema, detail))
            }
            Outcome::Unusable(why) => Err(Reject::new(Reason::BadSchema, format!("{id} at {place}: {why}"))),
        }
    }
}
