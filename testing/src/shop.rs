//! A shop: the events that follow from a plan, in the order of their offsets.

use crate::{Plan, Random, Size};
use deltacart_dataflows::{Action, Event, Name, Position};

/// A plan and its events.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The plan that the events follow from.
    pub plan: Plan,
    /// The events, all of one partition, with offsets from 0.
    pub events: Vec<Event>,
}

impl Shop {
    /// Draws the plan of a shop from a seed, and then its events.
    pub fn draw(seed: u64, size: Size) -> Shop {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, size);
        Shop::of(plan, &mut random)
    }

    /// Draws the events of a shop with this plan.
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

    /// The events as records of the plain JSON format. The key of each record is the user of its basket, so that all
    /// events of a user are in one partition.
    pub fn records(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.events.iter().map(|event| (key(event, self.plan.users), plain_json(event)))
    }

    /// The events, cut into epochs of `plan.epoch_events`.
    pub fn epochs(&self) -> impl Iterator<Item = &[Event]> {
        self.events.chunks(self.plan.epoch_events)
    }
}

/// The user of the event's basket, also where the event names no user.
fn key(event: &Event, users: u64) -> String {
    let number = event.basket.trim_start_matches('b').parse::<u64>();
    format!("u{}", number.map_or(0, |basket| basket % users))
}

/// The event as a value of the plain JSON format.
fn plain_json(event: &Event) -> Vec<u8> {
    let (kind, quantity) = match &event.action {
        Action::View(_) => ("view", None),
        Action::Add(_, quantity) => ("add", Some(*quantity)),
        Action::Remove(_, quantity) => ("remove", *quantity),
        Action::Set(_, quantity) => ("set", Some(*quantity)),
        Action::Purchase(_, quantity) => ("purchase", Some(*quantity)),
        Action::Refund(_, quantity) => ("refund", *quantity),
        Action::Checkout => ("purchase", None),
        Action::Clear => ("clear", None),
        Action::Cancel => ("cancel", None),
        Action::Forget | Action::ForgetUser => ("forget", None),
        Action::Restore(..) => unreachable!("no shop says what a snapshot says"),
    };
    let mut json = serde_json::json!({ "event": kind });
    if event.action != Action::ForgetUser {
        json["basket"] = event.basket.as_str().into();
    }
    if let Some(user) = &event.user {
        json["user"] = user.as_str().into();
    }
    if let Some(item) = event.action.item() {
        json["item"] = item.as_str().into();
    }
    if let Some(quantity) = quantity {
        json["quantity"] = quantity.into();
    }
    json.to_string().into_bytes()
}

/// The customers of a shop, and the state that their next events depend on.
struct Customers {
    items: Zipf,
    baskets: Zipf,
    time: u64,
    /// Lines that were added, some of which may have been removed since. Removals draw from them, so most remove
    /// something.
    held: Vec<(u64, u64)>,
    /// By basket: whether it has had an event.
    is_begun: Vec<bool>,
}

impl Customers {
    /// Appends what one customer does: one event, or two where a basket begins with a carrier bag.
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
            // A basket without a user cannot be forgotten with its user.
            let endings = &endings[..endings.len() - usize::from(user_of(basket, plan).is_none())];
            let ending = endings[random.below(endings.len() as u64) as usize].clone();
            return self.push(plan, events, basket, ending);
        }
        self.held.push((basket, item));
        let quantity = 1 + u32::from(random.happens(0.1));
        // Of any two events of a shop that counts views, one is a view.
        let is_view = plan.params.evidence.has_views() && random.happens(0.5);
        let action = match random.below(20) {
            _ if is_view => Action::View(item_name(item)),
            0 => Action::Purchase(item_name(item), quantity),
            1 => Action::Set(item_name(item), random.below(3) as u32),
            _ => Action::Add(item_name(item), quantity),
        };
        self.push(plan, events, basket, action);
    }

    fn push(&self, plan: &Plan, events: &mut Vec<Event>, basket: u64, action: Action<Name>) {
        let position = Position { offset: events.len() as u64, ..Position::default() };
        let (user, basket) = (user_of(basket, plan), format!("b{basket}").into());
        events.push(Event { position, basket, user, time: self.time, action });
    }
}

/// The user of a basket. One in three baskets has none.
fn user_of(basket: u64, plan: &Plan) -> Option<Name> {
    (!basket.is_multiple_of(3)).then(|| format!("u{}", basket % plan.users).into())
}

/// The name of an item. Names of even numbers differ from each other only after their first eight bytes.
pub fn item_name(item: u64) -> Name {
    if item.is_multiple_of(2) { format!("article {item}").into() } else { format!("i{item}").into() }
}

/// Numbers from 0 in the frequencies of Zipf's law: number n has the weight (n + 1)^−exponent.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// By number: the sum of the weights up to and including it.
    cumulated: Vec<f64>,
}

impl Zipf {
    /// The distribution of the numbers below `numbers`, which must be above 0. With an exponent of 0, all are equally
    /// frequent.
    pub fn new(numbers: u64, exponent: f64) -> Self {
        let weights = (1..=numbers).map(|rank| (rank as f64).powf(-exponent));
        let cumulated = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf { cumulated: cumulated.collect() }
    }

    /// Draws a number.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let total = self.cumulated.last().copied().unwrap_or_default();
        let wanted = random.fraction() * total;
        let number = self.cumulated.partition_point(|&sum| sum <= wanted);
        number.min(self.cumulated.len() - 1) as u64
    }
}
