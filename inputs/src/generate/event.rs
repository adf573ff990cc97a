//! One event of the shop, and how it is written: as a JSON record, or as events of the dataflow.

use deltacart_dataflows::{Action, Event, Name, Position};
use jiff::Timestamp;
use jiff::tz::Offset;

/// What kinds of things are sold, in the order in which they stand around the circle of tastes: neighbours go together.
pub(super) const THEMES: [&str; 16] = [
    "tea", "coffee", "cup", "spice", "kitchen", "garden", "tool", "lamp", "candle", "bath", "bed", "toy",
    "game", "book", "paper", "pen",
];

/// An item of the shop. Its name says what kind of thing it is and how popular: `tea-42` is the 42nd most popular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShopItem {
    /// From 1, the most popular.
    pub(super) rank: u32,
    pub(super) theme: u8,
}

/// One item and how many of it, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CartLine {
    /// The item.
    pub item: ShopItem,
    /// How many.
    pub quantity: u32,
}

/// What happened to a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CartAction {
    /// So many more are in the cart.
    Add(CartLine),
    /// So many fewer are, or none; also of things that were never there.
    Remove {
        /// The item.
        item: ShopItem,
        /// How many go; `None` is all.
        quantity: Option<u32>,
    },
    /// So many are in the cart now.
    Set(CartLine),
    /// The item was looked at.
    View(ShopItem),
    /// All these, the whole cart, were bought; at least one.
    Purchase(Vec<CartLine>),
    /// The cart was emptied.
    Clear,
    /// The basket is to be forgotten.
    Forget,
    /// The event's user is to be forgotten, with every basket.
    ForgetUser,
}

/// One event of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartEvent {
    /// The seed of the shop, which is part of the event's id: so the ids of two shops in one topic differ.
    pub(super) seed: u64,
    /// The number of the event in its shop, from 0. Duplicates have the number of what they repeat.
    pub id: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The number of the session, from 0.
    pub basket: u64,
    /// The number of the session's user, if known.
    pub user: Option<u32>,
    /// What happened.
    pub action: CartAction,
}

impl ShopItem {
    /// The item's popularity, from 1, the most popular.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// What kind of thing it is, in one word.
    pub fn theme(&self) -> &'static str {
        THEMES[usize::from(self.theme)]
    }

    /// The item's id, as in `tea-42`. At most 16 bytes.
    pub fn name(&self) -> Name {
        text_of(|text| self.write(text))
    }

    fn write(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.theme().as_bytes());
        text.push(b'-');
        write_number(self.rank.into(), text);
    }
}

impl CartEvent {
    /// The basket's id, as in `b17`: the key of the record, so that the events of a basket lie in one partition.
    pub fn basket_id(&self) -> Name {
        text_of(|text| write_id(b'b', self.basket, text))
    }

    /// Appends the event as a record of the `json` format, without a line end.
    pub fn write_json(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(b"{\"event\":\"");
        text.extend_from_slice(self.action.kind().as_bytes());
        text.push(b'"');
        if self.action != CartAction::ForgetUser {
            text.extend_from_slice(b",\"basket\":\"");
            write_id(b'b', self.basket, text);
            text.push(b'"');
        }
        if let Some(user) = self.user {
            text.extend_from_slice(b",\"user\":\"");
            write_id(b'u', user.into(), text);
            text.push(b'"');
        }
        match &self.action {
            CartAction::Add(line) | CartAction::Set(line) => {
                write_fields(line.item, Some(line.quantity), b",", text);
            }
            CartAction::Remove { item, quantity } => write_fields(*item, *quantity, b",", text),
            CartAction::View(item) => write_fields(*item, None, b",", text),
            CartAction::Purchase(lines) => {
                text.extend_from_slice(b",\"items\":[");
                for (index, line) in lines.iter().enumerate() {
                    write_fields(line.item, Some(line.quantity), if index == 0 { b"{" } else { b",{" }, text);
                    text.push(b'}');
                }
                text.push(b']');
            }
            CartAction::Clear | CartAction::Forget | CartAction::ForgetUser => {}
        }
        text.extend_from_slice(b",\"time\":\"");
        write_time(self.time_ms, text);
        text.extend_from_slice(b"\",\"id\":\"");
        write_id(b's', self.seed, text);
        text.push(b'-');
        write_number(self.id, text);
        text.extend_from_slice(b"\"}");
    }

    /// Appends the event as events of the dataflow, one for each line; a view is none.
    ///
    /// This is what the decoder makes of [`CartEvent::write_json`] at the same offset.
    pub fn write_events(&self, offset: u64, events: &mut Vec<Event>) {
        let basket = if self.action == CartAction::ForgetUser { Name::default() } else { self.basket_id() };
        let user = self.user.map(|user| text_of(|text| write_id(b'u', user.into(), text)));
        let mut push = |index: usize, action| {
            let position = Position { offset, index: index as u32, ..Position::default() };
            let (basket, user, time) = (basket.clone(), user.clone(), self.time_ms.max(0) as u64);
            events.push(Event { position, basket, user, time, action });
        };
        match &self.action {
            CartAction::Add(line) => push(0, Action::Add(line.item.name(), line.quantity)),
            CartAction::Remove { item, quantity } => push(0, Action::Remove(item.name(), *quantity)),
            CartAction::Set(line) => push(0, Action::Set(line.item.name(), line.quantity)),
            CartAction::View(_) => {}
            CartAction::Purchase(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    push(index, Action::Purchase(line.item.name(), line.quantity));
                }
            }
            CartAction::Clear => push(0, Action::Clear),
            CartAction::Forget => push(0, Action::Forget),
            CartAction::ForgetUser => push(0, Action::ForgetUser),
        }
    }
}

impl CartAction {
    /// The event's kind, as the `json` format writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            CartAction::Add(_) => "add",
            CartAction::Remove { .. } => "remove",
            CartAction::Set(_) => "set",
            CartAction::View(_) => "view",
            CartAction::Purchase(_) => "purchase",
            CartAction::Clear => "clear",
            CartAction::Forget | CartAction::ForgetUser => "forget",
        }
    }
}

fn write_fields(item: ShopItem, quantity: Option<u32>, before: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(before);
    text.extend_from_slice(b"\"item\":\"");
    item.write(text);
    text.push(b'"');
    if let Some(quantity) = quantity {
        text.extend_from_slice(b",\"quantity\":");
        write_number(quantity.into(), text);
    }
}

fn write_id(kind: u8, number: u64, text: &mut Vec<u8>) {
    text.push(kind);
    write_number(number, text);
}

/// Decimal digits; several times faster than the formatter, and there are six numbers in an event.
fn write_number(mut number: u64, text: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[first..]);
}

/// RFC 3339 in UTC with milliseconds, as in `2026-01-31T12:00:00.000Z`.
fn write_time(time_ms: i64, text: &mut Vec<u8>) {
    // The shop's clock saturates far inside the range of times, so the default is never taken.
    let time = Offset::UTC.to_datetime(Timestamp::from_millisecond(time_ms).unwrap_or_default());
    write_padded(time.year().unsigned_abs(), 4, text);
    for (before, part) in [
        (b'-', time.month()),
        (b'-', time.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        text.push(before);
        write_padded(part.unsigned_abs().into(), 2, text);
    }
    text.push(b'.');
    write_padded(time.millisecond().unsigned_abs(), 3, text);
    text.push(b'Z');
}

fn write_padded(number: u16, digits: u32, text: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        text.push(b'0' + (number / 10u16.pow(place) % 10) as u8);
    }
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> Name {
    let mut text = Vec::with_capacity(24);
    write(&mut text);
    Name::from_utf8(text).expect("ids of the shop are ASCII")
}
