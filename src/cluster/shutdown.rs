//! Shutdown: a process that cannot continue ends with one line, the same to every other process, and exit code 1.
//!
//! Only the first cause is reported. When a process dies, its connections break one after the other, and later errors
//! would describe the same failure less well.

use super::frame::Frame;
use crate::log;
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// The other processes, to which a process that ends says why.
pub(super) trait Peers: Send + Sync {
    /// Sends a frame to all of them.
    fn tell(&self, frame: &Frame);

    /// The name of a process in messages.
    fn name_of(&self, process: usize) -> Option<&str>;
}

/// The peers of this process. `None` while it has none.
static PEERS: Mutex<Option<Arc<dyn Peers>>> = Mutex::new(None);

/// How long the loss of a timely connection waits for the heartbeat to report the cause. It is longer than the
/// heartbeat's own wait.
const BETTER_WORDS: Duration = Duration::from_millis(500);

/// Sets the peers that hear of the end of this process.
pub(super) fn set_peers(peers: Option<Arc<dyn Peers>>) {
    *PEERS.lock().unwrap_or_else(PoisonError::into_inner) = peers;
}

fn peers() -> Option<Arc<dyn Peers>> {
    PEERS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Ends the process with a message, and the cluster with it.
pub(crate) fn die(message: &str) -> ! {
    end(Some(message), 1, &Frame::Failed(message.to_owned()))
}

/// Ends the process with the message that another process ended with. It is passed on to all others, because they may
/// see the end of this process before they receive the other's message.
pub(super) fn follow(message: &str) -> ! {
    end(Some(message), 1, &Frame::Follows(message.to_owned()))
}

/// Ends the process and the cluster without a failure: the reader of the output has closed it.
pub(crate) fn leave() -> ! {
    end(None, 0, &Frame::Enough)
}

fn end(message: Option<&str>, code: i32, frame: &Frame) -> ! {
    if IS_ENDING.swap(true, Ordering::Relaxed) {
        // Only the first thread gets past this. The others wait here until the process has ended.
        loop {
            thread::park();
        }
    }
    if let Some(message) = message {
        log::final_error(message);
    }
    if let Some(peers) = peers() {
        peers.tell(frame);
    }
    process::exit(code);
}

/// Makes a panic of any thread end the process with one line, because the other workers would wait for the lost one.
/// `RUST_BACKTRACE` adds a backtrace as usual.
pub(crate) fn die_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // The file that made a library panic is refused like any other that is damaged.
        if deltacart_inputs::file::catches_panics() {
            return;
        }
        let message = panic.payload_as_str().unwrap_or("for an unknown reason");
        let thread = thread::current();
        let thread = thread.name().unwrap_or("without a name");
        // Timely panics when a connection is lost. That is not a defect.
        if let Some(cause) = message.strip_prefix("timely communication error: ") {
            thread::sleep(BETTER_WORDS);
            let peers = peers();
            let peer = thread.rsplit_once('-').and_then(|(_, process)| process.parse().ok());
            let name = peer.and_then(|peer| peers.as_ref()?.name_of(peer)).unwrap_or("another process");
            die(&format!("the connection to {name} was lost ({cause})"));
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            report(panic);
        }
        let place = panic.location().map_or(String::new(), |place| format!(" at {place}"));
        let message = super::settings::shown(message);
        die(&format!("a defect, please report it: thread {thread} panicked{place}: {message}"));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The environment variable that says how the child process of a test must die.
    const DEATH: &str = "DELTACART_TEST_DEATH";

    /// Run in the child process, dies as asked. As a test of its own, does nothing.
    #[test]
    fn dying_process() {
        let Ok(death) = std::env::var(DEATH) else { return };
        die_on_panic();
        let (thread, message) = death.split_once(' ').unwrap();
        let message = message.to_owned();
        let panicking = thread::Builder::new().name(thread.to_owned()).spawn(move || panic!("{message}"));
        panicking.unwrap().join().unwrap();
    }

    #[track_caller]
    fn check(death: &str, said: &str) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "cluster::shutdown::tests::dying_process", "--nocapture"]);
        let died = command.env(DEATH, death).env_remove("RUST_BACKTRACE").output().unwrap();
        let stderr = String::from_utf8(died.stderr).unwrap();
        assert_eq!(died.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }

    #[test]
    fn a_panic_ends_the_process_with_one_line() {
        check("timely:work-1 two\nlines", "thread timely:work-1 panicked at src/cluster/shutdown.rs:");
        check("timely:work-1 two\nlines", "two\\nlines");
    }

    #[test]
    fn a_lost_connection_is_no_defect() {
        let lost = "timely:recv-2 timely communication error: reading data: socket closed";
        check(lost, "deltacart: the connection to another process was lost (reading data: socket closed)");
    }
}
