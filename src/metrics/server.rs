//! The HTTP server of `--metrics`: three paths, one thread, and nothing that a client can make grow.
//!
//! A connection is one small request and its answer, within a time. A new connection always gets in: where too many are
//! open, the oldest that has not asked for anything yet is closed. Clients that connect and say nothing therefore keep
//! no health check out. Connections are taken no faster than a pace, so that fast clients do not take much of a core
//! from the workers.

use super::Meter;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Connections that are open at a time: a few scrapers and probes, and somebody who looks.
const CONNECTIONS_MAX: usize = 32;

/// How long the head of a request may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a connection may last, from its beginning to the last byte of its answer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The most bytes of a request that are held; hyper allows no less.
const REQUEST_BYTES_MAX: usize = 8 << 10;

const HEADERS_MAX: usize = 32;

/// The least time between two connections: at most 500 a second, each of which costs some 100 µs.
const PACE: Duration = Duration::from_millis(2);

/// How long to wait when no connection can be taken, such as when the process may open no more files.
const AFTER_ERROR: Duration = Duration::from_millis(200);

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is in use, not of this machine, or needs a permission.
    #[error("cannot serve metrics at {address} (--metrics)")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// No thread, or nothing to wait with.
    #[error("cannot start the server of --metrics")]
    Thread(#[from] io::Error),
}

/// Serves what `meter` knows at `address` until the process ends. Returns the address, with the port that was found
/// where it was 0.
///
/// # Errors
/// When the address cannot be had. Later on, nothing that goes wrong here concerns the job.
pub fn serve(address: SocketAddr, meter: Meter) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError::Address { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    meter.watch();
    thread::Builder::new().name("metrics".into()).spawn(move || run(&runtime, listener, meter))?;
    tracing::info!("metrics at http://{bound}/metrics");
    Ok(bound)
}

fn run(runtime: &Runtime, listener: std::net::TcpListener, meter: Meter) {
    let _entered = runtime.enter();
    match TcpListener::from_std(listener) {
        Ok(listener) => runtime.block_on(accept(&listener, meter)),
        Err(error) => tracing::warn!(%error, "no metrics are served"),
    }
}

async fn accept(listener: &TcpListener, meter: Meter) {
    let mut open = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => open.add(stream, &meter),
            Err(error) => {
                tracing::debug!(%error, "a connection to --metrics could not be taken");
                sleep(AFTER_ERROR).await;
            }
        }
        sleep(PACE).await;
    }
}

/// Connections that are open, the oldest first; at most [`CONNECTIONS_MAX`].
#[derive(Default)]
struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    /// Whether its request has come: its answer is on its way.
    has_asked: Arc<AtomicBool>,
}

impl Connections {
    /// Serves a new connection, in the place of an old one where there are too many.
    fn add(&mut self, stream: TcpStream, meter: &Meter) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= CONNECTIONS_MAX {
            self.close_one();
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve_one(stream, meter.clone(), Arc::clone(&has_asked)));
        self.0.push_back(Connection { task, has_asked });
    }

    /// Closes the oldest connection that has not asked for anything; if all have, the oldest of all.
    fn close_one(&mut self) {
        let idle = self.0.iter().position(|connection| !connection.has_asked.load(Ordering::Relaxed));
        if let Some(connection) = self.0.remove(idle.unwrap_or(0)) {
            tracing::debug!("too many connections to --metrics: the oldest idle one is closed");
            connection.task.abort();
        }
    }
}

async fn serve_one(stream: TcpStream, meter: Meter, has_asked: Arc<AtomicBool>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let response = answer(request.method(), request.uri().path(), &meter);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to --metrics that is none"),
        Err(_elapsed) => tracing::debug!("a client of --metrics took too long"),
    }
}

fn answer(method: &Method, path: &str, meter: &Meter) -> Response<String> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let now = Instant::now();
    let verdict = |verdict: Result<(), String>| match verdict {
        Ok(()) => plain(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    match path {
        "/metrics" => {
            let mut response = Response::new(meter.page(now));
            response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
            response
        }
        "/healthz" => verdict(meter.health(now)),
        "/readyz" => verdict(meter.readiness(now)),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
