//! Handshakes over real sockets: with members, with unknown peers and with impostors.

use super::handshake::{Caller, Failure, Member, PATIENCE, PROOF_PATIENCE, Refusal, Role, call, receive};
use super::secret::Secret;
use super::settings::Settings;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

const SECRET: &str = "the secret of all the tests";

fn settings(k: usize) -> Settings {
    let mut settings = Settings::default();
    settings.set("--top-k", k);
    settings.set("--measure", "cosine");
    settings
}

fn member(process: usize, secret: Option<&str>, k: usize) -> Member {
    let secret = secret.map(|secret| Secret::new(secret.as_bytes()).unwrap());
    Member { process, instance: [process as u8; 16], secret, settings: settings(k) }
}

/// Both ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (caller, listener.accept().unwrap().0)
}

/// Process 2 calls process 1, which accepts with the last verdict.
fn meet(caller: Member, listener: Member) -> (Result<TcpStream, Failure>, Result<Caller, Failure>) {
    let (there, here) = connection();
    let calling = thread::spawn(move || call(there, &caller, 1, Role::Heartbeat));
    let mut accepted = receive(here, &listener, || true).map_err(|(failure, _)| failure);
    if let Ok(accepted) = &mut accepted {
        accepted.answer(None).unwrap();
    }
    (calling.join().unwrap(), accepted)
}

#[test]
fn members_of_a_cluster_meet() {
    for secret in [Some(SECRET), None] {
        let (caller, accepted) = meet(member(2, secret, 10), member(1, secret, 10));
        let (mut caller, mut accepted) = (caller.unwrap(), accepted.unwrap());
        assert_eq!((accepted.hello.from, accepted.hello.to, accepted.hello.role), (2, 1, Role::Heartbeat));
        assert_eq!(accepted.hello.instance, [2; 16]);
        // No byte of the handshake is left in the connection.
        caller.write_all(b"after").unwrap();
        accepted.stream.write_all(b"words").unwrap();
        let mut bytes = [0; 5];
        caller.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"words");
        accepted.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"after");
    }
}

#[test]
fn another_secret_is_refused_on_both_sides() {
    let other = Some("another secret of the tests");
    for (theirs, ours) in [(other, Some(SECRET)), (None, Some(SECRET)), (Some(SECRET), None)] {
        let (caller, accepted) = meet(member(2, theirs, 10), member(1, ours, 10));
        assert!(matches!(caller, Err(Failure::Refused(Refusal::Secret))), "{caller:?}");
        assert!(matches!(accepted, Err(Failure::Refused(Refusal::Secret))), "{accepted:?}");
    }
}

#[test]
fn other_settings_are_named_on_both_sides() {
    let (caller, accepted) = meet(member(2, Some(SECRET), 5), member(1, Some(SECRET), 10));
    let said = caller.unwrap_err().to_string();
    assert_eq!(said, "it runs with other settings: --top-k is 10 there and 5 here");
    let said = accepted.unwrap_err().to_string();
    assert_eq!(said, "it runs with other settings: --top-k is 5 there and 10 here");
}

#[test]
fn settings_differ_also_where_one_is_missing() {
    let (here, mut there) = (settings(10), settings(10));
    assert_eq!(here.difference(&there.text()), None);
    there.set("--new", "\u{1b}[31mred\n");
    let said = here.difference(&there.text()).unwrap();
    assert!(said.starts_with("--new is ") && said.ends_with(" there and not given here"), "{said}");
    assert!(!said.contains(['\u{1b}', '\n']), "{said:?}");
    assert!(there.difference(&here.text()).unwrap().starts_with("--new is not given there and "));
    // Long values that differ only at their ends.
    let [mut one, mut other] = [Settings::default(), Settings::default()];
    one.set("--input", "a".repeat(100_000) + "b");
    other.set("--input", "a".repeat(100_000) + "c");
    assert!(one.difference(&other.text()).is_some() && one.text().len() < 1000);
}

/// The listener's answer to these bytes, and why it refuses them.
fn stray(bytes: &[u8]) -> (Vec<u8>, Failure) {
    let (mut there, here) = connection();
    there.write_all(bytes).unwrap();
    there.shutdown(std::net::Shutdown::Write).unwrap();
    let (failure, _) = receive(here, &member(1, Some(SECRET), 10), || true).unwrap_err();
    let mut answer = Vec::new();
    // The connection may also end in a reset.
    let _ = there.read_to_end(&mut answer);
    (answer, failure)
}

#[test]
fn strangers_are_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 100], b"SSH-2.0-x\r\n"] {
        let (answer, failure) = stray(bytes);
        assert!(matches!(&failure, Failure::Stray(why) if why == "it is not deltacart"), "{failure}");
        assert_eq!(answer, b"", "a stranger is told nothing");
    }
    for bytes in [&b""[..], b"del", b"deltaca>", b"deltaca>\0\x01\x01short"] {
        let (_, failure) = stray(bytes);
        assert!(matches!(&failure, Failure::Stray(why) if why == "it hung up"), "{bytes:?}: {failure}");
    }
    // The right magic and protocol, then no valid role, or no valid proof.
    let (_, failure) = stray(&[b"deltaca>\0\x01", &[9; 200][..]].concat());
    assert!(failure.to_string().contains("make no sense"), "{failure}");
    let (_, failure) = stray(&[b"deltaca>\0\x01\x01", &[9; 200][..]].concat());
    assert!(matches!(failure, Failure::Refused(Refusal::Secret)), "{failure}");
    let (answer, failure) = stray(b"deltaca>\xff\xff and what comes in another version");
    assert!(matches!(failure, Failure::Refused(Refusal::Protocol)), "{failure}");
    assert_eq!(answer, b"deltaca<\0\x01\x01", "what every version understands");
}

/// A recorded proof cannot be reflected to its sender or replayed in another connection.
#[test]
fn proofs_cannot_be_used_again() {
    let (there, mut here) = connection();
    let calling = thread::spawn(move || call(there, &member(2, Some(SECRET), 10), 1, Role::Data));
    let mut hello = [0; 8 + 2 + 57];
    here.read_exact(&mut hello).unwrap();
    // A listener that does not know the secret may choose any nonce.
    here.write_all(&[b"deltaca<\0\x01\0", &[7; 32][..]].concat()).unwrap();
    let mut proof = [0; 32];
    here.read_exact(&mut proof).unwrap();
    here.write_all(&[&[0][..], &proof].concat()).unwrap();
    let failure = calling.join().unwrap().unwrap_err();
    assert!(failure.to_string().contains("does not know the secret"), "{failure}");
    // The recorded hello and proof are sent to a real listener, whose nonce differs.
    let (_, failure) = stray(&[&hello[..], &proof].concat());
    assert!(matches!(failure, Failure::Refused(Refusal::Secret)), "{failure}");
}

#[test]
fn what_answers_may_be_anything() {
    for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"deltaca>\0\x01\x01", b"", b"deltaca<\0\x01\xc8"]
    {
        let (there, mut here) = connection();
        here.write_all(words).unwrap();
        here.shutdown(std::net::Shutdown::Write).unwrap();
        let failure = call(there, &member(2, Some(SECRET), 10), 1, Role::Data).unwrap_err();
        assert!(matches!(failure, Failure::Stray(_)), "{failure}");
    }
}

#[test]
fn secrets_have_a_length_and_are_not_shown() {
    assert!(Secret::new(b"0123456789abcde").is_err());
    assert!(Secret::new(&[b'x'; 5000]).is_err());
    assert!(Secret::new(b"   0123456789abcd\n").is_err(), "white space does not count");
    let secret = Secret::new(SECRET.as_bytes()).unwrap();
    assert_eq!(secret, Secret::new(format!("{SECRET}\n").as_bytes()).unwrap());
    assert!(!format!("{secret:?}").contains("tests"));
}

#[test]
fn loopback_is_told_from_the_rest() {
    for address in ["localhost:2101", "127.0.0.1:1", "127.8.8.8:1", "[::1]:2101"] {
        assert!(super::is_loopback(address), "{address}");
    }
    for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "localhost.evil.example:1", "host:1", ""] {
        assert!(!super::is_loopback(address), "{address}");
    }
}

/// A silent caller has less time than a whole handshake may take.
#[test]
fn silence_is_not_for_ever() {
    let (_there, here) = connection();
    let start = Instant::now();
    let (failure, said_to_be) = receive(here, &member(1, None, 10), || true).unwrap_err();
    assert!(failure.to_string().contains("no answer in time"), "{failure}");
    assert_eq!(said_to_be, None);
    assert!((PROOF_PATIENCE..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// A caller that is closed to make room receives nothing made with the secret, and no settings.
#[test]
fn who_had_to_go_learns_nothing() {
    let (there, here) = connection();
    let calling = thread::spawn(move || call(there, &member(2, Some(SECRET), 10), 1, Role::Data));
    let (failure, _) = receive(here, &member(1, Some(SECRET), 10), || false).unwrap_err();
    assert!(failure.to_string().contains("had to go"), "{failure}");
    let failure = calling.join().unwrap().unwrap_err();
    assert!(matches!(&failure, Failure::Stray(why) if why == "it hung up"), "{failure}");
}

#[test]
fn quiet_connections_are_kept() {
    let (stream, _other) = connection();
    assert!(!SockRef::from(&stream).keepalive().unwrap(), "it is something that has to be asked for");
    super::keep_alive(&stream).unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), super::QUIET);
}
