//! The settings of the API, from the flags of `run` and `serve`.

use super::effects;
use super::list_sources::{kafka, list_file, list_topic};
use crate::cli::{Listen, Place, Recommend, RunArgs, ServeArgs, ServerArgs};
use crate::cluster::Secret;
use crate::output::RowKind;
use crate::serve::{Followed, Kinds, ServeOptions, Serving};
use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, ToSocketAddrs};

/// The most connections to the demo.
const CONNECTIONS_MAX: usize = 512;

/// Where a replica serves, if the command line does not say.
const REPLICA_ADDRESS: &str = "127.0.0.1:8080";

/// What the job shares with its server, if it serves.
pub(super) fn serving(args: &RunArgs) -> Option<Serving> {
    args.server.serve.as_ref()?;
    let subjects = &args.subjects;
    let kinds = Kinds { carts: subjects.wants(Recommend::Carts), users: subjects.wants(Recommend::Users) };
    Some(Serving::new(kinds, args.workers.get(), args.serve_questions.get()))
}

/// How the API is served. `None` without an address.
///
/// # Errors
/// When the address cannot be resolved, the token cannot be read, or the origin is none.
pub fn serve(args: &ServerArgs) -> Result<Option<ServeOptions>> {
    let ServerArgs { serve, serve_token_file, serve_origin, serve_connections } = args;
    let Some(listen) = serve else { return Ok(None) };
    let token = serve_token_file.as_ref().map(|path| {
        Secret::from_file(path).with_context(|| format!("--serve-token-file {}", path.display()))
    });
    if let Some(origin) = serve_origin {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_origin =
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']));
        ensure!(
            origin == "*" || is_origin,
            "--serve-origin wants an origin, such as https://shop.example, without a path, or *"
        );
    }
    Ok(Some(ServeOptions {
        address: address("--serve", listen)?,
        token: token.transpose()?,
        origin: serve_origin.clone(),
        connections: serve_connections.get(),
    }))
}

/// How the demo serves: at this address, with the defaults.
///
/// # Errors
/// When the address cannot be resolved.
pub(super) fn local(listen: &Listen) -> Result<ServeOptions> {
    Ok(ServeOptions {
        address: address("--serve", listen)?,
        token: None,
        origin: None,
        connections: CONNECTIONS_MAX,
    })
}

/// How a replica serves.
///
/// # Errors
/// When flags contradict each other, or those of the API are invalid. The message names the flag.
pub fn replica(args: &ServeArgs) -> Result<ServeOptions> {
    effects::check_serve(args)?;
    let mut places: Vec<&Place> = sources(args).map(|(_rows, _flag, place)| place).collect();
    places.sort_by_key(|place| format!("{place:?}"));
    let twice = places.windows(2).any(|pair| pair[0] == pair[1]);
    ensure!(!twice, "--input, --carts and --users cannot be the same: each has lists of its own");
    let listen = args.server.serve.clone().unwrap_or_else(|| Listen(REPLICA_ADDRESS.to_owned()));
    let server = ServerArgs { serve: Some(listen), ..args.server.clone() };
    serve(&server)?.context("--serve wants an address")
}

/// The lists that a replica follows: a topic without end, else the records that exist now.
///
/// # Errors
/// When a source cannot be opened.
pub fn followed(args: &ServeArgs) -> Result<Vec<Followed>> {
    let open = |(rows, flag, place): (RowKind, &str, &Place)| {
        let (source, place) = match place {
            Place::File(path) => (list_file(path), path.clone()),
            Place::Topic(topic) => {
                let committed = kafka(&args.kafka)?.committed_only();
                (list_topic(&committed, topic, false), format!("topic {topic}"))
            }
        };
        let source = source.with_context(|| format!("cannot read {flag} {place}"))?;
        Ok(Followed { rows, place, source })
    };
    sources(args).map(open).collect()
}

/// The places of the lists, with what they are for and their flags.
fn sources(args: &ServeArgs) -> impl Iterator<Item = (RowKind, &'static str, &Place)> {
    let input = [(RowKind::Item, "--input", &args.input)].into_iter();
    let carts = args.carts.iter().map(|place| (RowKind::Cart, "--carts", place));
    let users = args.users.iter().map(|place| (RowKind::User, "--users", place));
    input.chain(carts).chain(users)
}

/// The address of a flag.
///
/// # Errors
/// When it cannot be resolved.
pub(super) fn address(flag: &str, Listen(address): &Listen) -> Result<SocketAddr> {
    let found = address.to_socket_addrs().with_context(|| format!("{flag} {address} names no address"))?;
    // If a name has several addresses, the first is used. A job that listens at some of them would be hard to
    // understand.
    let found: Vec<SocketAddr> = found.collect();
    found.first().copied().with_context(|| format!("{flag} {address} names no address"))
}
