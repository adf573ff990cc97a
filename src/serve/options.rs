//! How the API is served, and why it cannot be.

use crate::cluster::Secret;
use std::io;
use std::net::SocketAddr;
use thiserror::Error;

/// How the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// The address.
    pub address: SocketAddr,
    /// The token that requests must carry. `None` asks for none.
    pub token: Option<Secret>,
    /// The origin whose pages may ask, or `*` for all. `None` allows the server's own page only.
    pub origin: Option<String>,
    /// The most connections that are open at a time.
    pub connections: usize,
}

/// Why the API cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is in use, belongs to another machine, or needs a permission.
    #[error("cannot serve at {address} (--serve)")]
    Address {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The thread or the asynchronous runtime of the server could not be started.
    #[error("cannot start the server of --serve")]
    Thread(#[from] io::Error),
}
