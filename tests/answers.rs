//! Answers of carts and users through a real broker: three streams leave in one transaction, whatever is killed and
//! whenever. Skipped unless `DELTACART_TEST_BROKERS` names a broker.

use crate::kafka::{Broker, unused};
use crate::notes::events;
use crate::recovery::{check_history, kill_at_random};
use crate::support::{Folder, Random, canonical, lists_of_file, run};

/// Every open subject is answered at every epoch, so the last answers are those of the end.
const FLAGS: &str = "--recommend items,carts,users --refresh 0 --open-for 8s --k-carts 4 --answer-by blend \
                     --blend lists=0.3,baskets=1,own=0.2 --neighbours 9 --recent 20";

/// Kills a job at random moments while events stream in, and starts it again with other workers and processes, with and
/// without snapshots. A consumer of committed records sees no answer twice and none going back. At the end it has the
/// answers of a run over a file that nothing interrupts.
#[test]
fn killed_at_random_and_kafka_has_each_answer_once() {
    let Some(broker) = Broker::new() else { return };
    let mut random = Random::new(21);
    let events = events(9, 12_000);
    let folder = Folder::new();
    let topic = broker.topic("carts");
    let outputs = ["lists", "cart-answers", "user-answers"].map(|name| broker.table_with_history(name));
    let [lists, carts, users] = &outputs;
    let group = unused("group");
    let job = format!(
        "run {} --input kafka:{topic} --output kafka:{lists} --output-carts kafka:{carts} --output-users kafka:{users} \
         -G {group} --epoch 10ms --slots 27 {FLAGS}",
        broker.flags
    );
    kill_at_random(
        &broker,
        &folder,
        &job,
        &topic,
        &events,
        &mut random,
        "--carts-every 100ms --lists-every 50ms",
    );
    let expected = uninterrupted(&broker, &folder, &topic);
    for (output, expected) in outputs.iter().zip(&expected) {
        let seen = check_history(&broker, output);
        assert!(expected.len() > 100, "{output}: hardly anything is expected");
        assert!(canonical(&seen.lists) == *expected, "{output}: the end is another");
    }
    // One more run has nothing to publish.
    run(&format!("{job} --until-end -w 3"), &[]).expect(0).says(", 0 lists changed in 0 records");
}

/// The lists, the answers of carts and those of users, of a run over the topic that writes to files.
fn uninterrupted(broker: &Broker, folder: &Folder, topic: &str) -> [String; 3] {
    let files = ["lists.jsonl", "carts.jsonl", "users.jsonl"].map(|name| folder.path(name));
    let [lists, carts, users] = &files;
    run(
        &format!(
            "run {} --input kafka:{topic} --until-end --output {lists} --output-carts {carts} --output-users {users} \
             --overwrite --verify {FLAGS}",
            broker.flags
        ),
        &[],
    )
    .expect(0);
    files.map(|path| lists_of_file(&path))
}
