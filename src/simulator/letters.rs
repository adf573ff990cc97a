//! A simulated topic of dead letters, and the producer that writes to it.
//!
//! A letter that the producer has taken arrives later, or never if the run is killed before. The acknowledgement comes
//! later still, so the same run never knows less than the broker, and a run that is killed may know less.

use super::kill_switch::KillSwitch;
use super::sim_context::{Bug, Fault, SimContext};
use crate::dead_letter::LetterProducer;
use crate::output::kafka::{Message, Offered};
use crate::output::{Sent, SinkError};
use deltacart_dataflows::Partition;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The names of the input topics, by stream number.
pub(super) const TOPICS: [&str; 2] = ["carts", "orders"];

/// A dead letter that has arrived.
#[derive(Clone, Debug)]
pub(super) struct DeadLetter {
    /// The run that wrote it.
    pub(super) run: usize,
    /// The partition and the offset of the record that it is about.
    pub(super) place: (Partition, u64),
    pub(super) value: Option<Vec<u8>>,
}

/// The topic. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Letters(Rc<RefCell<Vec<DeadLetter>>>);

impl Letters {
    /// All letters that have arrived, in order.
    pub(super) fn all(&self) -> Vec<DeadLetter> {
        self.0.borrow().clone()
    }

    /// How many letters have arrived.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// The producer of one worker.
pub(super) struct Producer {
    letters: Letters,
    sim: SimContext,
    kill_switch: KillSwitch,
    /// Letters that have not arrived.
    waiting: VecDeque<DeadLetter>,
    /// Letters that have arrived, without an acknowledgement.
    unacknowledged: usize,
    /// Letters move in one of so many polls.
    polls_per_move: u64,
    sent: Sent,
}

impl Producer {
    pub(super) fn new(letters: &Letters, sim: &SimContext, kill_switch: &KillSwitch) -> Producer {
        let (letters, sim, kill_switch) = (letters.clone(), sim.clone(), kill_switch.clone());
        let (waiting, unacknowledged, sent) = (VecDeque::new(), 0, Sent::default());
        let polls_per_move = sim.pick(&[1, 1, 1, 20]);
        Producer { letters, sim, kill_switch, waiting, unacknowledged, polls_per_move, sent }
    }

    fn burn(&self) -> Result<(), SinkError> {
        self.kill_switch.burn().map_err(|cut| SinkError::Kafka { message: cut.to_string() })
    }

    fn letter(&self, message: &Message<'_>) -> DeadLetter {
        let header = |name: &str| {
            let found = message.headers.iter().find(|(header, _value)| *header == name);
            std::str::from_utf8(found.and_then(|(_name, value)| *value).expect("every letter has it"))
                .unwrap()
        };
        let topic = header("__connect.errors.topic");
        let topic = TOPICS.iter().position(|name| *name == topic).expect("it is a topic of the job");
        let number = header("__connect.errors.partition").parse().unwrap();
        let partition = Partition::new(topic as u8, number).unwrap();
        let offset = header("__connect.errors.offset").parse().unwrap();
        let (run, value) = (self.kill_switch.run(), message.value.map(<[u8]>::to_vec));
        DeadLetter { run, place: (partition, offset), value }
    }
}

impl LetterProducer for Producer {
    fn offer(&mut self, message: &Message<'_>) -> Result<Offered, SinkError> {
        self.burn()?;
        if self.sim.strikes(Fault::SinkFull) {
            return Ok(Offered::Full);
        }
        let letter = self.letter(message);
        self.waiting.push_back(letter);
        self.sent.records += 1;
        Ok(Offered::Taken)
    }

    fn poll(&mut self) -> Result<usize, SinkError> {
        self.burn()?;
        if self.sim.one_in(2) {
            self.unacknowledged = 0;
        }
        let moving = if self.sim.one_in(self.polls_per_move) { self.waiting.len() as u64 } else { 0 };
        let arriving = self.sim.below(moving + 1) as usize;
        for letter in self.waiting.drain(..arriving) {
            self.sim.note(format_args!("run {} has a dead letter for {:?}", letter.run, letter.place));
            self.letters.0.borrow_mut().push(letter);
            self.unacknowledged += 1;
        }
        if !self.waiting.is_empty() && self.sim.strikes(Fault::LetterFailed) {
            self.kill_switch.excuse();
            return Err(SinkError::Kafka { message: "simulated: a dead letter cannot be delivered".into() });
        }
        let under_way = self.waiting.len() + self.unacknowledged;
        Ok(if self.sim.has(Bug::LettersUnconfirmed) { 0 } else { under_way })
    }

    fn sent(&self) -> Sent {
        self.sent
    }
}
