//! Dropping a client without being held up by it.

use std::ops::Deref;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long an orderly client may take to go away before it is left behind.
const PATIENCE: Duration = Duration::from_secs(3);

/// Holds a client (a consumer, a producer) and releases it when dropped.
pub struct Released<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Released<T> {
    /// Takes charge of `client`.
    pub fn new(client: T) -> Released<T> {
        Released(Some(client))
    }
}

impl<T: Send + 'static> Deref for Released<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the client is taken only when this is dropped")
    }
}

impl<T: Send + 'static> Drop for Released<T> {
    fn drop(&mut self) {
        release(self.0.take(), PATIENCE);
    }
}

/// Drops `client` (a consumer with its queues, or a producer) on a thread of its own and waits at most `patience` for
/// that; returns whether it is gone. librdkafka's destruction can take for ever when a broker has gone away
/// (librdkafka #5476): then the thread is left behind, and the end of the process ends it.
pub fn release<T: Send + 'static>(client: T, patience: Duration) -> bool {
    let (gone_sender, gone) = mpsc::channel();
    let spawned = thread::Builder::new().name("kafka-release".into()).spawn(move || {
        drop(client);
        // Nobody may be waiting any more.
        let _ = gone_sender.send(());
    });
    // Without a thread the closure, and the client with it, has been dropped here.
    spawned.is_err() || gone.recv_timeout(patience).is_ok()
}
