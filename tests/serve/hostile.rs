//! Hostile clients: slow, huge, garbage and many. Others are served meanwhile, and the job goes on.

use super::client::{get, json, post};
use super::start_small_shop;
use crate::support::{Folder, Random, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[test]
fn hostile_clients_keep_nobody_out() {
    let folder = Folder::new();
    let (running, mut stdin, address) =
        start_small_shop(&folder, "--serve-connections 40 --serve-questions 4");
    // More than there is room for: half say nothing, the others begin a request and never end it.
    let silent: Vec<TcpStream> = (0..200)
        .filter_map(|number| {
            let mut stream = TcpStream::connect(&address).ok()?;
            if number % 2 == 0 {
                let _ =
                    stream.write_all(b"POST /v1/recommendations HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{");
            }
            Some(stream)
        })
        .collect();
    // Readers that ask for much and read nothing.
    let deaf: Vec<TcpStream> = (0..50)
        .filter_map(|_number| {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            let asks = format!("GET /openapi.json HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(200);
            let _ = stream.write_all(asks.as_bytes());
            Some(stream)
        })
        .collect();
    let mut random = Random::new(7);
    for _round in 0..100 {
        let Ok(mut stream) = TcpStream::connect(&address) else { continue };
        let bytes: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.write_all(b"\r\n\r\n");
    }
    // A head and a path that are too long.
    for text in [format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)), "x: y\r\n".repeat(100_000)] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut answer = Vec::new();
        let _ = stream.take(1000).read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    }
    assert_eq!(get(&address, "/healthz").unwrap().status, 200);
    // The job takes in what comes meanwhile.
    writeln!(stdin, r#"{{"event":"add","basket":"a","user":"ann","item":"spoon"}}"#).unwrap();
    wait_until("the event counts", || {
        json(&address, "/v1/items/milk/similar")["items"][1] != serde_json::Value::Null
    });
    drop((silent, deaf, stdin));
    running.terminate();
    running.finish().expect(0);
}

/// More questions than may wait: each is answered, or refused with a word about when to come back.
#[test]
fn too_many_questions_are_refused_and_not_lost() {
    let folder = Folder::new();
    let (running, stdin, address) = start_small_shop(&folder, "--serve-questions 2");
    let askers: Vec<_> = (0..16)
        .map(|_asker| {
            let address = address.clone();
            thread::spawn(move || {
                let mut statuses = Vec::new();
                for _question in 0..20 {
                    let answer = post(&address, "/v1/recommendations", r#"{"items":["tea"]}"#).unwrap();
                    assert_eq!(answer.head.contains("retry-after: 1"), answer.status == 503);
                    statuses.push(answer.status);
                }
                statuses
            })
        })
        .collect();
    let statuses: Vec<u16> = askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert!(statuses.contains(&200));
    drop(stdin);
    running.terminate();
    running.finish().expect(0);
}
