//! The first error of any operator of a worker. Operators cannot return errors, so the worker checks on every turn.

use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;

/// The first error. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct FirstError(Rc<RefCell<Option<anyhow::Error>>>);

impl FirstError {
    /// Keeps an error, unless there is one already.
    pub(crate) fn set(&self, error: anyhow::Error) {
        self.0.borrow_mut().get_or_insert(error);
    }

    /// Whether there is an error.
    pub(crate) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Takes the error.
    ///
    /// # Errors
    /// With the error, if there is one.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.borrow_mut().take().map_or(Ok(()), Err)
    }
}
