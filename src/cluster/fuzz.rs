//! Fuzz targets of the cluster: peers that send any bytes. See `crate::fuzz`.

use super::frame::{Frame, TEXT_BYTES_MAX};
use super::handshake::{Failure, Member, Role, ask_for_proof, introduce, receive_settings, send_settings};
use super::secret::Secret;
use super::settings::Settings;
use std::io::{self, Read, Write};

/// A peer that sends fixed bytes, whatever it receives.
struct Stranger<'a> {
    words: &'a [u8],
    heard: Vec<u8>,
}

impl Read for Stranger<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.words.read(bytes)
    }
}

impl Write for Stranger<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn member() -> Member {
    let secret = Secret::new(b"a secret that is long enough").expect("it has the length");
    let mut settings = Settings::default();
    settings.set("--top-k", 10);
    settings.set("--measure", "cosine");
    Member { process: 1, instance: [7; 16], secret: Some(secret), settings }
}

/// Fuzzes the handshake. The first byte chooses the peer's part: caller, listener, sender of settings, or a member.
pub(crate) fn handshake(data: &[u8]) {
    let Some((side, words)) = data.split_first() else { return };
    let member = member();
    let mut stranger = Stranger { words, heard: Vec::new() };
    let said: [&[u8]; 2] = [b"hello", b"answer"];
    match side % 4 {
        0 => {
            let mut said_to_be = None;
            let Err(failure) = ask_for_proof(&mut stranger, &member, &mut said_to_be) else {
                panic!("nobody guesses proofs");
            };
            assert!(!matches!(failure, Failure::Settings(_)), "{failure}");
            // Magic, protocol, a nonce and two verdicts: no byte was made with the secret.
            assert!(stranger.heard.len() <= 8 + 2 + 32 + 2);
            assert!(stranger.heard.is_empty() || words.starts_with(b"deltaca>"));
            assert!(said_to_be.is_none() || stranger.heard.len() > 8 + 2);
        }
        1 => {
            let failure =
                introduce(&mut stranger, &member, 0, Role::Data).expect_err("nobody guesses proofs");
            assert!(!matches!(failure, Failure::Settings(_)), "{failure}");
            assert!(stranger.heard.len() <= 8 + 2 + 57 + 32, "settings are for those who know the secret");
        }
        2 => {
            let received = receive_settings(&mut stranger, &member, "label", &said);
            assert!(matches!(received, Err(Failure::Stray(_))), "{received:?}");
        }
        _ => settings_of_a_member(&member, words, &said),
    }
}

fn settings_of_a_member(member: &Member, words: &[u8], said: &[&[u8]; 2]) {
    let text = String::from_utf8_lossy(words);
    let difference = member.settings.difference(&text);
    if let Some(difference) = &difference {
        assert!(!difference.contains(char::is_control), "{difference:?}");
        assert!(difference.chars().count() < 3 * 2 * 6000, "{difference:?}");
    }
    // Settings that can be sent arrive unchanged.
    let mut theirs = Settings::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('\t')) {
        theirs.set(name, value);
    }
    let sender = Member { process: 2, instance: [8; 16], secret: member.secret.clone(), settings: theirs };
    let mut bytes = Vec::new();
    send_settings(&mut bytes, &sender, "label", said).expect("a vector takes everything");
    let received = receive_settings(&mut bytes.as_slice(), member, "label", said);
    match received {
        Ok(text) => {
            assert_eq!(text, sender.settings.text());
            assert_eq!(sender.settings.difference(&text), None);
        }
        Err(failure) => assert!(bytes.len() > 64 << 10, "{failure}"),
    }
    assert!(
        receive_settings(&mut bytes.as_slice(), member, "another", said).is_err(),
        "labels make no difference"
    );
}

/// Fuzzes frames: their ends are recognised, and a decoded frame is encoded to the same frame.
pub(crate) fn heartbeat(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((frame, length))) = Frame::decode(rest) {
        assert!(length <= 3 + TEXT_BYTES_MAX);
        let before = Frame::decode(&rest[..length - 1]);
        assert!(matches!(before, Ok(None)), "a frame is there before its last byte");
        let bytes = frame.encode();
        let again = Frame::decode(&bytes);
        let (Frame::Failed(text) | Frame::Follows(text)) = &frame else {
            assert_eq!(again.ok().flatten(), Some((frame, bytes.len())));
            rest = &rest[length..];
            continue;
        };
        // Bytes that were no text have become longer by replacement characters, and may be cut.
        let (Ok(Some((Frame::Failed(sent) | Frame::Follows(sent), _))), true) = (again, bytes[0] == rest[0])
        else {
            panic!("{frame:?} is sent as something else");
        };
        assert!(text.starts_with(&sent) && (sent == *text || text.len() > TEXT_BYTES_MAX));
        rest = &rest[length..];
    }
}
