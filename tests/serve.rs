//! The API of a running job and of a replica: look-ups, questions, streams, errors, and hostile clients.

mod browser;
mod client;
mod hostile;
mod page;
mod replica;
mod restart;

use crate::support::{Folder, Running, run, start, wait_until};
use client::{Events, free_address, get, get_with, json, post};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::ChildStdin;

/// Three baskets: tea and milk are in two, tea and a mug in one.
const EVENTS: &str = r#"{"event":"add","basket":"a","user":"ann","item":"tea"}
{"event":"add","basket":"a","user":"ann","item":"milk"}
{"event":"add","basket":"b","user":"ben","item":"tea"}
{"event":"add","basket":"b","user":"ben","item":"milk"}
{"event":"add","basket":"c","user":"cleo","item":"mug/blue, large"}
{"event":"add","basket":"c","user":"cleo","item":"tea"}
"#;

/// Starts a job that reads standard input and serves. Returns it with its address.
pub(crate) fn start_live(folder: &Folder, flags: &str) -> (Running, String) {
    let (address, output) = (free_address(), folder.path("lists.jsonl"));
    let line = format!("run --input - --output {output} --epoch 5ms --serve {address} {flags}");
    (start(&line, &[]), address)
}

/// Starts a job that serves the lists of [`EVENTS`]. Returns it with its input and its address.
fn start_small_shop(folder: &Folder, flags: &str) -> (Running, ChildStdin, String) {
    let (mut running, address) = start_live(folder, flags);
    let mut stdin = running.stdin();
    stdin.write_all(EVENTS.as_bytes()).unwrap();
    wait_until("the lists are there", || has(&address, "/v1/items/milk/similar?fallback=none", &["tea"]));
    (running, stdin, address)
}

/// The ids of the items of an answer.
fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["item"].as_str().unwrap()).collect()
}

/// Whether the items of the answer to `path` are these.
fn has(address: &str, path: &str, expected: &[&str]) -> bool {
    get(address, path).is_some_and(|answer| {
        answer.status == 200 && ids(&serde_json::from_str(&answer.body).unwrap()) == expected
    })
}

#[test]
fn lists_are_served_as_they_were_delivered() {
    for workers in [1, 3] {
        let folder = Folder::new();
        let (mut running, address) = start_live(&folder, &format!("-w {workers}"));
        let mut stdin = running.stdin();
        stdin.write_all(EVENTS.as_bytes()).unwrap();
        wait_until("the lists are there", || {
            has(&address, "/v1/items/tea/similar?fallback=none", &["milk", "mug/blue, large"])
        });
        let answer = json(&address, "/v1/items/tea/similar");
        assert_eq!(answer["item"], "tea");
        assert_eq!(answer["items"][0], json!({"item": "milk", "score": 0.816, "count": 2}));
        assert!(answer["epoch"].as_u64() >= answer["changed"].as_u64());
        assert!(answer.get("fallback").is_none());
        // Parameters, and ids that need escapes.
        assert_eq!(ids(&json(&address, "/v1/items/mug%2Fblue,%20large/similar")), ["tea"]);
        assert_eq!(ids(&json(&address, "/v1/items/tea/similar?n=1")), ["milk"]);
        assert_eq!(ids(&json(&address, "/v1/items/tea/similar?n=1&offset=1")), ["mug/blue, large"]);
        let answer = json(&address, "/v1/items/tea/similar?exclude=milk&min_score=0.5");
        assert_eq!(ids(&answer), ["mug/blue, large"]);
        assert_eq!(answer["left_out"], json!([{"item": "milk", "why": "exclude"}]));
        let answer = json(&address, "/v1/items/tea/similar?min_score=0.7");
        assert_eq!(answer["left_out"], json!([{"item": "mug/blue, large", "why": "min_score"}]));
        // What is not there: the popular items, but for the item itself.
        let answer = json(&address, "/v1/items/unheard-of/similar");
        assert_eq!(
            (&answer["fallback"], ids(&answer)[..2].to_vec()),
            (&json!("popular"), vec!["milk", "tea"])
        );
        assert_eq!(ids(&json(&address, "/v1/popular")), ["milk", "tea", "mug/blue, large"]);
        let item = json(&address, "/v1/items/tea");
        assert_eq!((item["list"].as_u64(), item["popularity"].as_u64()), (Some(2), Some(2)));
        assert_eq!(get(&address, "/v1/items/unheard-of").unwrap().status, 404);
        // A removal is served, too.
        let before = json(&address, "/v1/items/tea/similar")["epoch"].as_u64().unwrap();
        writeln!(stdin, r#"{{"event":"remove","basket":"c","user":"cleo","item":"tea"}}"#).unwrap();
        wait_until("the removal is served", || has(&address, "/v1/items/tea/similar", &["milk"]));
        assert!(json(&address, "/v1/items/tea/similar")["epoch"].as_u64().unwrap() > before);
        // The workers report four times a second.
        wait_until("everything is counted", || json(&address, "/v1/status")["records"] == 7);
        let status = json(&address, "/v1/status");
        assert_eq!((&status["role"], &status["items"]), (&json!("job"), &json!(2)));
        drop(stdin);
        running.terminate();
        running.finish().expect(0);
    }
}

#[test]
fn questions_are_answered_by_the_state_of_their_epoch() {
    for flags in ["-w 1 --answer-by lists", "-w 3 --answer-by baskets", "-w 2 --answer-by blend"] {
        let folder = Folder::new();
        let (running, mut stdin, address) = start_small_shop(&folder, flags);
        let ask = |body: Value| {
            let answer = post(&address, "/v1/recommendations", &body.to_string()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            serde_json::from_str::<Value>(&answer.body).unwrap()
        };
        let first = ask(json!({"items": ["tea"]}));
        assert_eq!(ids(&first), ["milk", "mug/blue, large"], "{flags}");
        assert_eq!(ids(&ask(json!({"items": ["tea"], "n": 1, "exclude": ["milk"]}))), ["mug/blue, large"]);
        // A question changes nothing, and a new basket changes the next answer.
        for item in ["tea", "spoon"] {
            writeln!(stdin, r#"{{"event":"add","basket":"d","user":"dan","item":"{item}"}}"#).unwrap();
        }
        wait_until("the new basket counts", || {
            ids(&ask(json!({"items": ["tea"]}))) == ["milk", "mug/blue, large", "spoon"]
        });
        let last = ask(json!({"items": ["tea"], "at_least_epoch": first["epoch"]}));
        assert!(last["epoch"].as_u64() > first["epoch"].as_u64());
        // Nothing to recommend: popular items, but for those of the question.
        let empty = ask(json!({"items": ["unheard-of", 7], "n": 2}));
        assert_eq!((&empty["fallback"], ids(&empty).len()), (&json!("popular"), 2));
        assert_eq!(ids(&ask(json!({"items": [], "fallback": "none"}))), Vec::<&str>::new());
        drop(stdin);
        running.terminate();
        running.finish().expect(0);
        let lists = crate::support::lists_of_file(&folder.path("lists.jsonl"));
        assert!(!lists.contains("unheard-of"), "questions are in no basket");
    }
}

#[test]
fn carts_and_users_are_served_without_a_topic_of_theirs() {
    let folder = Folder::new();
    let flags = "--recommend items,carts,users --answer-by lists --refresh 0";
    let (mut running, address) = start_live(&folder, flags);
    let mut stdin = running.stdin();
    stdin.write_all(EVENTS.as_bytes()).unwrap();
    wait_until("the cart is answered", || {
        has(&address, "/v1/carts/a/recommendations?fallback=none", &["mug/blue, large"])
    });
    assert_eq!(ids(&json(&address, "/v1/users/ann/recommendations")), ["mug/blue, large"]);
    let answer = get(&address, "/api/recommend/ann").unwrap();
    assert_eq!(answer.body, r#"["mug/blue, large"]"#);
    let status = json(&address, "/v1/status");
    assert_eq!((&status["carts"], &status["users"]), (&json!(3), &json!(3)));
    writeln!(stdin, r#"{{"event":"purchase","basket":"a","user":"ann"}}"#).unwrap();
    wait_until("a bought cart is closed", || has(&address, "/v1/carts/a/recommendations?fallback=none", &[]));
    drop(stdin);
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn gorse_paths_answer_as_gorse_does() {
    let folder = Folder::new();
    let (running, stdin, address) = start_small_shop(&folder, "--answer-by lists");
    let answer = get(&address, "/api/item/tea/neighbors?n=1").unwrap();
    assert_eq!(answer.body, r#"[{"Id":"milk","Score":0.816}]"#);
    let session =
        r#"[{"FeedbackType":"view","ItemId":"tea","UserId":"","Timestamp":"2026-01-02T10:00:00Z"}]"#;
    let answer = post(&address, "/api/session/recommend?n=2", session).unwrap();
    let items: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&items[0]["Id"], &items[1]["Id"]), (&json!("milk"), &json!("mug/blue, large")));
    drop(stdin);
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn a_stream_says_a_list_each_time_that_it_changes() {
    let folder = Folder::new();
    let (running, mut stdin, address) = start_small_shop(&folder, "");
    let mut events = Events::open(&address, "/v1/items/milk/stream?fallback=none", None);
    let first = events.next();
    assert_eq!(ids(&first.data), ["tea"]);
    writeln!(stdin, r#"{{"event":"add","basket":"a","user":"ann","item":"spoon"}}"#).unwrap();
    let second = events.next();
    assert_eq!(ids(&second.data).len(), 2);
    let number = |id: &str| id.parse::<u64>().unwrap();
    assert!(number(&second.id) > number(&first.id));
    // A reader that comes back gets the list only if it has another one.
    let mut again = Events::open(&address, "/v1/items/milk/stream", Some(&second.id));
    let mut missed = Events::open(&address, "/v1/items/milk/stream", Some(&first.id));
    assert_eq!(missed.next().id, second.id);
    writeln!(stdin, r#"{{"event":"remove","basket":"a","user":"ann","item":"spoon"}}"#).unwrap();
    assert_eq!(ids(&again.next().data), ["tea"]);
    // A list that is gone is an event, too.
    let mut gone = Events::open(&address, "/v1/items/mug%2Fblue,%20large/stream?fallback=none", None);
    assert_eq!(ids(&gone.next().data), ["tea"]);
    writeln!(stdin, r#"{{"event":"clear","basket":"c","user":"cleo"}}"#).unwrap();
    assert_eq!(ids(&gone.next().data), Vec::<&str>::new());
    drop(stdin);
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn a_job_over_a_file_goes_on_until_it_is_stopped() {
    let folder = Folder::new();
    let input = folder.file("events.jsonl", EVENTS);
    let (address, output) = (free_address(), folder.path("lists.jsonl"));
    let mut running = start(&format!("run --input {input} --output {output} --serve {address}"), &[]);
    wait_until("the lists are there", || has(&address, "/v1/items/milk/similar?fallback=none", &["tea"]));
    wait_until("it is ready", || get(&address, "/readyz").is_some_and(|answer| answer.status == 200));
    let answer = post(&address, "/v1/recommendations", r#"{"items":["milk"]}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!running.has_ended());
    running.terminate();
    running.finish().expect(0);
    assert!(fs::read_to_string(&output).unwrap().contains("tea"));
}

#[test]
fn errors_are_problem_documents() {
    let folder = Folder::new();
    let (running, address) = start_live(&folder, "");
    wait_until("it serves", || get(&address, "/healthz").is_some());
    wait_until("it is ready", || get(&address, "/readyz").is_some_and(|answer| answer.status == 200));
    let too_long = format!(r#"{{"items":["{}"]}}"#, "x".repeat(256 << 10));
    for (status, method, target, body, words) in [
        (404, "GET", "/v2/items", "", "no such path"),
        (405, "POST", "/v1/popular", "", "another method"),
        (400, "GET", "/v1/popular?m=3", "", "there is no parameter"),
        (400, "GET", "/v1/items/%ff/similar", "", "percent-encoded UTF-8"),
        (404, "GET", "/v1/carts/a/recommendations", "", "--recommend carts"),
        (404, "GET", "/v1/users/a/recommendations", "", "--recommend users"),
        (400, "POST", "/v1/recommendations", "{", "the body: EOF"),
        (400, "POST", "/v1/recommendations", r#"{"items":["a"],"explain":true}"#, "unknown field `explain`"),
        (400, "POST", "/v1/recommendations", r#"{"items":["a"],"n":0}"#, "n must be from 1"),
        (413, "POST", "/v1/recommendations", &too_long, "too long"),
    ] {
        let answer = client::send(&address, method, target, "", body).unwrap();
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn the_document_describes_every_path() {
    let folder = Folder::new();
    let (running, address) = start_live(&folder, "");
    wait_until("it serves", || get(&address, "/healthz").is_some());
    let document = json(&address, "/openapi.json");
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in
        ["/v1/items/{id}/similar", "/v1/recommendations", "/v1/carts/{id}/stream", "/api/recommend/{user}"]
    {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    let parameters = document["paths"]["/v1/items/{id}/similar"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["id", "n", "offset", "exclude", "min_score", "fallback", "at_least_epoch"]);
    // The page and its files ask nothing of other machines.
    for path in ["/", "/docs", "/page.css", "/page.js", "/docs.js"] {
        let answer = get(&address, path).unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-security-policy: default-src 'none'"));
        assert!(!answer.body.contains("https://") && !answer.body.contains("http://www."), "{path}");
    }
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn a_token_and_an_origin_are_asked_for() {
    let folder = Folder::new();
    let token = folder.file("token", "correct horse battery\n");
    let flags = format!("--serve-token-file {token} --serve-origin https://shop.example");
    let (running, address) = start_live(&folder, &flags);
    wait_until("it is ready", || get(&address, "/readyz").is_some_and(|answer| answer.status == 200));
    assert_eq!(get(&address, "/v1/popular").unwrap().status, 401);
    assert_eq!(get(&address, "/").unwrap().status, 200);
    for (header, status) in [
        ("Authorization: Bearer correct horse battery", 200),
        ("X-API-Key: correct horse battery", 200),
        ("Authorization: Bearer correct horse", 401),
        ("Authorization: Basic correct horse battery", 401),
    ] {
        assert_eq!(get_with(&address, "/v1/popular", header).unwrap().status, status, "{header}");
    }
    let allowed = |origin: &str| {
        let answer = get_with(&address, "/healthz", &format!("Origin: {origin}")).unwrap();
        answer.head.contains("access-control-allow-origin")
    };
    assert!(allowed("https://shop.example") && !allowed("https://evil.example"));
    let head = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST";
    let answer = client::send(&address, "OPTIONS", "/v1/recommendations", head, "").unwrap();
    assert_eq!(answer.status, 204);
    running.terminate();
    let done = running.finish().expect(0);
    assert!(!done.stderr.contains("battery") && !done.told.contains("battery"));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    let input = folder.file("events.jsonl", EVENTS);
    let short = folder.file("short", "secret");
    for (flags, words) in [
        ("--serve-questions 5".to_owned(), "--serve-questions has no effect: it goes with --serve"),
        ("--serve 0 --serve-origin shop.example".to_owned(), "--serve-origin wants an origin"),
        (format!("--serve 0 --serve-token-file {short}"), "it has 6 bytes and must have at least 16"),
        ("--serve 0 --epoch-events 5".to_owned(), "--serve has questions"),
        ("--serve 0 --engine reference".to_owned(), "--engine reference has no answers"),
        ("--serve 0 --refresh 0".to_owned(), "--refresh has no effect"),
    ] {
        run(&format!("run --input {input} {flags}"), &[]).expect(2).says(words);
    }
    // An address that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    run(&format!("run --input {input} --serve {address}"), &[]).expect(1).says("(--serve)");
}

/// Every process of a cluster has all lists, and takes questions.
#[test]
fn each_process_of_a_cluster_serves_everything() {
    let folder = Folder::new();
    let input = folder.file("events.jsonl", EVENTS);
    let hosts = folder.hostfile(2);
    let output = folder.path("lists.jsonl");
    let addresses = [free_address(), free_address()];
    let running: Vec<Running> = (0..2)
        .map(|process| {
            let address = &addresses[process];
            let line = format!(
                "run --input {input} --output {output} --serve {address} -w 2 -n 2 -p {process} --hostfile {hosts}"
            );
            start(&line, &["--answer-by", "lists"])
        })
        .collect();
    for address in &addresses {
        for (item, expected) in [("tea", &["milk", "mug/blue, large"][..]), ("milk", &["tea"])] {
            wait_until("all lists are there", || {
                has(address, &format!("/v1/items/{item}/similar?fallback=none"), expected)
            });
        }
        for _time in 0..4 {
            let answer = post(address, "/v1/recommendations", r#"{"items":["tea"]}"#).unwrap();
            let answer: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(ids(&answer), ["milk", "mug/blue, large"]);
        }
    }
    running[0].terminate();
    running.into_iter().for_each(|process| drop(process.finish().expect(0)));
}
