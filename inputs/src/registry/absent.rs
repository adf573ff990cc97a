//! What is left of schema registries in a build without them: nothing that could be made.

use super::{Readiness, RegistryError, RegistryStatus};
use crate::decode::{Framed, Limits, Reject, SchemaId};
use std::path::Path;

/// A schema registry, of which this build has none.
#[derive(Clone, Debug)]
pub enum Registry {}

impl Registry {
    /// Fails: says which feature is missing.
    pub fn new(_place: &str, _login: Option<&Path>) -> Result<Registry, RegistryError> {
        Err(RegistryError(
            "--schema-registry needs a build with --features schema-registry; this one reads JSON only"
                .to_owned(),
        ))
    }

    /// How it does.
    pub fn status(&self) -> RegistryStatus {
        match *self {}
    }

    pub(crate) fn schemas(&self) -> Schemas {
        match *self {}
    }
}

/// A decoder's view of a registry.
pub(crate) enum Schemas {}

impl Schemas {
    pub(crate) fn prepare(&mut self, _id: SchemaId) -> Result<Readiness, RegistryError> {
        match *self {}
    }

    pub(crate) fn read<'b>(
        &mut self,
        _framed: &Framed<'_>,
        _payload: &'b [u8],
        _text: &'b mut Vec<u8>,
        _limits: &Limits,
    ) -> Result<&'b [u8], Reject> {
        match *self {}
    }
}
