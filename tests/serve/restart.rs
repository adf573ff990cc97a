//! A job that was killed and comes back: it answers nothing that is older than what it published.

use super::client::{free_address, get, json};
use super::{has, ids};
use crate::kafka::{Broker, unused};
use crate::support::{start, wait_until};
use std::thread;
use std::time::Duration;

#[test]
fn a_job_that_comes_back_answers_nothing_older() {
    let Some(broker) = Broker::new() else { return };
    let (input, output, address) =
        (broker.topic("serve-restart"), unused("serve-restart-lists"), free_address());
    let add = |basket: &str, item: &str| {
        let event = format!(r#"{{"event":"add","basket":"{basket}","item":"{item}"}}"#);
        broker.produce(&input, [(basket, event.as_bytes())]);
    };
    let line = format!(
        "run {} --input kafka:{input} --output kafka:{output} --epoch 10ms -w 2 --serve {address}",
        broker.flags
    );
    for item in ["tea", "milk"] {
        add("a", item);
    }
    let mut running = start(&line, &[]);
    wait_until("the first list is served", || {
        has(&address, "/v1/items/tea/similar?fallback=none", &["milk"])
    });
    // Several epochs, so that those of the next run are known by their numbers.
    for number in 0..5 {
        add("b", "tea");
        add("b", &format!("mug-{number}"));
        let expected = format!("mug-{number}");
        wait_until("the next list is served", || {
            ids(&json(&address, "/v1/items/tea/similar?n=100")).contains(&expected.as_str())
        });
    }
    let last = json(&address, "/v1/items/tea/similar?n=100");
    running.kill();
    let again = start(&line, &[]);
    // Whatever is answered while it catches up is an error, or not older.
    let mut refused = 0;
    loop {
        if let Some(answer) = get(&address, "/v1/items/tea/similar?n=100&fallback=none") {
            if answer.status == 200 {
                let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(answer["items"], last["items"]);
                assert!(answer["epoch"].as_u64() > last["changed"].as_u64(), "{answer} {last}");
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.body);
            refused += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(refused > 0, "it catches up before it answers");
    again.terminate();
    again.finish().expect(0);
}
