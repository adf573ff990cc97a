//! The handshake of a connection: identifies the caller, proves the shared secret, and compares settings.
//!
//! ```text
//!  caller (the later process)                             listener
//!    hello: magic, protocol, role, from, to, instance, nonce ──▶
//!                        ◀── answer: magic, protocol, refusal or 0, nonce
//!    proof: HMAC("caller", hello, answer) ──▶                        knows the secret? else refused
//!                        ◀── refusal or 0, HMAC("listener", hello, answer)
//!    settings, HMAC("caller's settings", hello, answer, settings) ──▶
//!                        ◀── settings, HMAC("listener's settings", …)
//!                        ◀── refusal or 0: welcome
//! ```
//!
//! - Every proof covers both nonces, both indices and the role of the connection, and has a label of its side. So no
//!   proof can be replayed, used in another connection, or reflected to its sender.
//! - The caller proves first, within [`PROOF_PATIENCE`]. The whole handshake must be done within [`PATIENCE`].
//! - Everything has a fixed length except the settings. They are bounded, and accepted only from a peer that knows
//!   the secret.

use super::secret::{Proof, Secret, is_proved, prove};
use super::settings::Settings;
use super::wire::{Wire, read_array};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The protocol version. Raise it with every change of what is sent before the settings are compared.
const PROTOCOL: u16 = 1;

// The magic bytes differ by side. So a socket that is connected to itself, as can happen on an unused port, fails the
// handshake.
const HELLO: [u8; 8] = *b"deltaca>";
const ANSWER: [u8; 8] = *b"deltaca<";

/// How long a handshake may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a caller may take to prove that it knows the secret: two round trips.
pub(super) const PROOF_PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of settings.
const SETTINGS_BYTES_MAX: usize = 64 << 10;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Timely's data.
    Data,
    /// The heartbeat.
    Heartbeat,
}

/// A random id of one start of one process, which distinguishes it from earlier starts.
pub(super) type Instance = [u8; 16];

/// The identity of this process in handshakes.
pub(super) struct Member {
    pub(super) process: usize,
    pub(super) instance: Instance,
    pub(super) secret: Option<Secret>,
    pub(super) settings: Settings,
}

/// Why the other side refuses the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("it is of another version of deltacart")]
    Protocol,
    #[error("the secrets differ: all processes need the same --cluster-secret-file")]
    Secret,
    #[error("it is another process than the one that was called: the host files differ")]
    Index,
    #[error("the process that calls is connected already: is a -p given twice?")]
    Taken,
}

const REFUSALS: [Refusal; 4] = [Refusal::Protocol, Refusal::Secret, Refusal::Index, Refusal::Taken];

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// It broke, was silent, or is not of this protocol. This says nothing about the process that should be there.
    #[error("{0}")]
    Stray(String),
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It knows the secret and runs another job. The text names the settings that differ.
    #[error("it runs with other settings: {0}")]
    Settings(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Stray("it hung up".to_owned()),
            _ => Failure::Stray(error.to_string()),
        }
    }
}

fn stray(what: &str) -> Failure {
    Failure::Stray(what.to_owned())
}

/// The first message of the caller, without its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) role: Role,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) instance: Instance,
}

const NONCE: usize = 32;
const HELLO_BYTES: usize = 1 + 4 + 4 + 16 + NONCE;

/// Bytes from the system's random generator.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

impl Hello {
    fn encode(&self) -> io::Result<[u8; HELLO_BYTES]> {
        let role = match self.role {
            Role::Data => 1,
            Role::Heartbeat => 2,
        };
        let mut bytes = [0; HELLO_BYTES];
        bytes[0] = role;
        bytes[1..5].copy_from_slice(&self.from.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.to.to_be_bytes());
        bytes[9..25].copy_from_slice(&self.instance);
        bytes[25..].copy_from_slice(&random::<NONCE>()?);
        Ok(bytes)
    }

    fn decode(bytes: &[u8; HELLO_BYTES]) -> Option<Hello> {
        let role = match bytes[0] {
            1 => Role::Data,
            2 => Role::Heartbeat,
            _ => return None,
        };
        Some(Hello {
            role,
            from: u32::from_be_bytes(bytes[1..5].try_into().ok()?),
            to: u32::from_be_bytes(bytes[5..9].try_into().ok()?),
            instance: bytes[9..25].try_into().ok()?,
        })
    }
}

/// Writes the verdict on a connection: 0, or the place of the refusal from 1.
fn judge(wire: &mut impl Write, refusal: Option<Refusal>) -> io::Result<()> {
    let place = refusal.and_then(|refusal| REFUSALS.iter().position(|known| *known == refusal));
    wire.write_all(&[place.map_or(0, |place| place as u8 + 1)])
}

/// Reads the verdict on a connection.
fn verdict(wire: &mut impl Read) -> Result<(), Failure> {
    match read_array::<1>(wire)?[0] {
        0 => Ok(()),
        code => Err(match REFUSALS.get(usize::from(code) - 1) {
            Some(&refusal) => Failure::Refused(refusal),
            None => stray("it refuses for a reason that this version does not know"),
        }),
    }
}

pub(super) fn send_settings(
    wire: &mut impl Write,
    member: &Member,
    label: &str,
    said: &[&[u8]; 2],
) -> io::Result<()> {
    let text = member.settings.text();
    let proof = prove(member.secret.as_ref(), label, &[said[0], said[1], text.as_bytes()]);
    wire.write_all(&(text.len() as u32).to_be_bytes())?;
    wire.write_all(text.as_bytes())?;
    wire.write_all(&proof)
}

pub(super) fn receive_settings(
    wire: &mut impl Read,
    member: &Member,
    label: &str,
    said: &[&[u8]; 2],
) -> Result<String, Failure> {
    let length = u32::from_be_bytes(read_array(wire)?) as usize;
    if length > SETTINGS_BYTES_MAX {
        return Err(stray("its settings are too long"));
    }
    let mut text = vec![0; length];
    wire.read_exact(&mut text)?;
    let proof: Proof = read_array(wire)?;
    if !is_proved(member.secret.as_ref(), label, &[said[0], said[1], &text], &proof) {
        return Err(stray("its settings were changed on their way"));
    }
    String::from_utf8(text).map_err(|_| stray("its settings are no text"))
}

fn compare(member: &Member, theirs: &str) -> Result<(), Failure> {
    match member.settings.difference(theirs) {
        None => Ok(()),
        Some(difference) => Err(Failure::Settings(difference)),
    }
}

/// Performs the caller's side of a handshake.
pub(super) fn call(stream: TcpStream, member: &Member, to: usize, role: Role) -> Result<TcpStream, Failure> {
    let mut wire = Wire::new(stream, Instant::now() + PATIENCE)?;
    introduce(&mut wire, member, to, role)?;
    Ok(wire.into_stream()?)
}

/// Performs the caller's side over any wire, to the last verdict.
pub(super) fn introduce(
    wire: &mut (impl Read + Write),
    member: &Member,
    to: usize,
    role: Role,
) -> Result<(), Failure> {
    let secret = member.secret.as_ref();
    let hello = Hello { role, from: member.process as u32, to: to as u32, instance: member.instance };
    let hello = hello.encode()?;
    let mut first = [&HELLO[..], &PROTOCOL.to_be_bytes()].concat();
    first.extend_from_slice(&hello);
    wire.write_all(&first)?;

    let magic: [u8; 8] = read_array(wire)?;
    let protocol = u16::from_be_bytes(read_array(wire)?);
    if magic != ANSWER {
        return Err(stray("what answers there is not deltacart"));
    }
    verdict(wire)?;
    if protocol != PROTOCOL {
        return Err(Failure::Refused(Refusal::Protocol));
    }
    let answer: [u8; NONCE] = read_array(wire)?;
    let said: [&[u8]; 2] = [&hello, &answer];
    wire.write_all(&prove(secret, "caller", &said))?;
    verdict(wire)?;
    let proof: Proof = read_array(wire)?;
    if !is_proved(secret, "listener", &said, &proof) {
        return Err(stray("what answers there does not know the secret"));
    }
    send_settings(wire, member, "caller's settings", &said)?;
    compare(member, &receive_settings(wire, member, "listener's settings", &said)?)?;
    verdict(wire)
}

/// A caller that knows the secret, runs the same job, and waits for the last verdict.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) hello: Hello,
    pub(super) stream: TcpStream,
}

impl Caller {
    /// Sends the last verdict. Nothing may be sent to the caller before it.
    pub(super) fn answer(&mut self, refusal: Option<Refusal>) -> io::Result<()> {
        judge(&mut self.stream, refusal)
    }
}

/// Performs the listener's side, except for the last verdict. Calls `proved` as soon as the caller has proved that it
/// knows the secret; false ends the handshake.
///
/// # Errors
/// Why the handshake failed, with the process index that the caller claimed, if it got that far.
pub(super) fn receive(
    stream: TcpStream,
    member: &Member,
    proved: impl FnOnce() -> bool,
) -> Result<Caller, (Failure, Option<u32>)> {
    let mut said_to_be = None;
    let caller = || {
        let start = Instant::now();
        let mut wire = Wire::new(stream, start + PROOF_PATIENCE)?;
        let proof = ask_for_proof(&mut wire, member, &mut said_to_be)?;
        if !proved() {
            return Err(stray("it had to go before it was done"));
        }
        let mut wire = wire.with_deadline(start + PATIENCE);
        exchange_settings(&mut wire, member, &proof)?;
        Ok(Caller { hello: proof.hello, stream: wire.into_stream()? })
    };
    caller().map_err(|failure| (failure, said_to_be))
}

/// The messages of a caller that has proved that it knows the secret.
pub(super) struct Proved {
    hello: Hello,
    /// The caller's hello and the listener's nonce.
    said: ([u8; HELLO_BYTES], [u8; NONCE]),
}

/// Performs the listener's side until the caller has proved that it knows the secret. Sets `said_to_be` to the
/// process index that the caller claims.
pub(super) fn ask_for_proof(
    wire: &mut (impl Read + Write),
    member: &Member,
    said_to_be: &mut Option<u32>,
) -> Result<Proved, Failure> {
    let secret = member.secret.as_ref();
    if read_array(wire)? != HELLO {
        return Err(stray("it is not deltacart"));
    }
    let other_protocol = u16::from_be_bytes(read_array(wire)?) != PROTOCOL;
    wire.write_all(&[&ANSWER[..], &PROTOCOL.to_be_bytes()].concat())?;
    if other_protocol {
        judge(wire, Some(Refusal::Protocol))?;
        return Err(Failure::Refused(Refusal::Protocol));
    }
    let first: [u8; HELLO_BYTES] = read_array(wire)?;
    let hello = Hello::decode(&first).ok_or_else(|| stray("its first words make no sense"))?;
    *said_to_be = Some(hello.from);
    judge(wire, None)?;
    let answer: [u8; NONCE] = random()?;
    wire.write_all(&answer)?;

    let proof: Proof = read_array(wire)?;
    if !is_proved(secret, "caller", &[&first, &answer], &proof) {
        judge(wire, Some(Refusal::Secret))?;
        return Err(Failure::Refused(Refusal::Secret));
    }
    Ok(Proved { hello, said: (first, answer) })
}

/// Performs the rest of the listener's side, except for the last verdict.
fn exchange_settings(
    wire: &mut (impl Read + Write),
    member: &Member,
    proved: &Proved,
) -> Result<(), Failure> {
    let said: [&[u8]; 2] = [&proved.said.0, &proved.said.1];
    judge(wire, None)?;
    wire.write_all(&prove(member.secret.as_ref(), "listener", &said))?;
    let theirs = receive_settings(wire, member, "caller's settings", &said)?;
    send_settings(wire, member, "listener's settings", &said)?;
    compare(member, &theirs)
}
