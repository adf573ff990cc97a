//! A shop: the events that a plan leads to, in the order of their offsets.

use crate::{Plan, Random, Size};
use deltacart_dataflows::{Action, Event, Name, Position};

/// A plan and its events.
#[derive(Clone, Debug)]
pub struct Shop {
    /// What it was drawn with.
    pub plan: Plan,
    /// All of one partition, by offset from 0.
    pub events: Vec<Event>,
}

impl Shop {
    /// The shop of a seed.
    pub fn draw(seed: u64, size: Size) -> Shop {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, size);
        Shop::of(plan, &mut random)
    }

    /// A shop of this plan.
    pub fn of(plan: Plan, random: &mut Random) -> Shop {
        let mut customers = Customers {
            items: Zipf::new(plan.items, plan.item_skew),
            baskets: Zipf::new(plan.baskets, plan.basket_skew),
            time: 0,
            held: Vec::new(),
            is_begun: vec![false; plan.baskets as usize],
        };
        let mut events = Vec::with_capacity(plan.events as usize);
        while (events.len() as u64) < plan.events {
            customers.act(&plan, random, &mut events);
        }
        Shop { plan, events }
    }

    /// The events, cut into epochs.
    pub fn epochs(&self) -> impl Iterator<Item = &[Event]> {
        self.events.chunks(self.plan.epoch_events)
    }
}

/// What the customers of a shop do next.
struct Customers {
    items: Zipf,
    baskets: Zipf,
    time: u64,
    /// Lines that were added, some of which may be gone: what is taken out is mostly there.
    held: Vec<(u64, u64)>,
    /// Which baskets have had an event.
    is_begun: Vec<bool>,
}

impl Customers {
    /// One customer does something: one event, or two where a basket begins with a carrier bag.
    fn act(&mut self, plan: &Plan, random: &mut Random, events: &mut Vec<Event>) {
        let number = events.len() as u64;
        self.time += random.below(5);
        let (basket, item) = match plan.in_turn {
            true => (number % plan.baskets, number % plan.items),
            false => (self.baskets.draw(random), self.items.draw(random)),
        };
        if plan.carrier_bag && !std::mem::replace(&mut self.is_begun[basket as usize], true) {
            self.push(plan, events, basket, Action::Add(item_name(0), 1));
        }
        if random.happens(plan.removes) {
            let (basket, item) = match self.held.len() as u64 {
                0 => (basket, item),
                lines => self.held.swap_remove(random.below(lines) as usize),
            };
            let some = random.happens(0.3).then(|| 1 + random.below(2) as u32);
            let action = match random.happens(0.15) {
                true => Action::Refund(item_name(item), some),
                false => Action::Remove(item_name(item), some),
            };
            return self.push(plan, events, basket, action);
        }
        if random.happens(plan.endings) {
            let endings =
                [Action::Clear, Action::Checkout, Action::Cancel, Action::Forget, Action::ForgetUser];
            let ending = endings[random.below(endings.len() as u64) as usize].clone();
            return self.push(plan, events, basket, ending);
        }
        self.held.push((basket, item));
        let quantity = 1 + u32::from(random.happens(0.1));
        let action = match random.below(20) {
            0 => Action::Purchase(item_name(item), quantity),
            1 => Action::Set(item_name(item), random.below(3) as u32),
            _ => Action::Add(item_name(item), quantity),
        };
        self.push(plan, events, basket, action);
    }

    fn push(&self, plan: &Plan, events: &mut Vec<Event>, basket: u64, action: Action<Name>) {
        let position = Position { partition: 0, offset: events.len() as u64, index: 0 };
        let user = (basket % 3 > 0).then(|| Name::from(format!("u{}", basket % plan.users)));
        events.push(Event { position, basket: format!("b{basket}").into(), user, time: self.time, action });
    }
}

/// The name of an item. Every other name differs from its neighbours only after its first eight bytes.
fn item_name(item: u64) -> Name {
    if item.is_multiple_of(2) { format!("article {item}").into() } else { format!("i{item}").into() }
}

/// Numbers from 0 that are as frequent as Zipf's law has it: number n with weight (n + 1)^−exponent.
struct Zipf {
    /// Of each number, the weights up to it.
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(numbers: u64, exponent: f64) -> Self {
        let weights = (1..=numbers).map(|rank| (rank as f64).powf(-exponent));
        let cumulated = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf { cumulated: cumulated.collect() }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let total = self.cumulated.last().copied().unwrap_or_default();
        let wanted = random.fraction() * total;
        let number = self.cumulated.partition_point(|&sum| sum <= wanted);
        number.min(self.cumulated.len() - 1) as u64
    }
}
