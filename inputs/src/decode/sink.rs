//! What events mean: kinds with quantities become actions, under the same rules whatever the format.
//!
//! | kind | quantity absent | above 0 | 0 | below 0 | no items |
//! |---|---|---|---|---|---|
//! | add | 1 | add | reject | remove so many | reject |
//! | remove | all | so many | reject | reject | reject |
//! | set | reject | set | set | reject | reject |
//! | purchase | 1 | purchase | reject | refund so many | checkout |
//! | refund | all | so many | reject | reject | cancel |
//! | update | 1 | purchase, after one cancel | none of it | reject | other |
//! | view | view | view | view | view | reject |
//!
//! Clear, cancel and forget are about the basket: items beside them are not looked at. A view has no quantity, whatever
//! is written there. Views are ignored and counted, unless they are evidence ([`DecodeOptions::views`]).
//!
//! [`DecodeOptions::views`]: super::DecodeOptions::views

use super::duplicates::Recent;
use super::fields::{Field, Quantity};
use super::options::EventNames;
use super::reject::quoted;
use super::utf8::as_shown;
use super::{Decoded, Defects, Flaw, Limits, PartReject, Reason, Reject, key};
use deltacart_dataflows::{Action, Event, Millis, Name, Position};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What a shop's event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Remove,
    Set,
    Clear,
    Purchase,
    Refund,
    /// The order came back whole, whatever it lists.
    Cancel,
    /// The order holds the listed items now, and no others.
    Update,
    Forget,
    /// A product was looked at.
    View,
    /// The cart was looked at, which says nothing new about its items.
    CartView,
    Other,
}

impl Kind {
    /// The kinds by the names that plain records and `--event-names` have for them.
    pub(super) const NAMES: &[(&str, Kind)] = &[
        ("add", Kind::Add),
        ("remove", Kind::Remove),
        ("set", Kind::Set),
        ("clear", Kind::Clear),
        ("purchase", Kind::Purchase),
        ("refund", Kind::Refund),
        ("cancel", Kind::Cancel),
        ("update", Kind::Update),
        ("forget", Kind::Forget),
        ("view", Kind::View),
        ("other", Kind::Other),
    ];

    /// The quantity of an event of this kind. A view has none: what stands there is not even read.
    pub(super) fn quantity<T>(self, quantity: Option<T>) -> Option<T> {
        quantity.filter(|_| self != Kind::View)
    }

    /// The kind that `name` stands for on the command line.
    pub(super) fn named(name: &str) -> Option<Kind> {
        Kind::NAMES.iter().find(|&&(known, _)| known == name).map(|&(_, kind)| kind)
    }
}

/// The names of events in one format: the shop's own first, then those of the format.
pub(super) struct Vocabulary {
    names: Vec<(String, Kind)>,
    /// Whether an unlisted name is no defect.
    others: bool,
}

impl Vocabulary {
    /// The names in `own` before those in `of_format`. With `others`, an unlisted name is an event about something
    /// else than carts.
    pub(super) fn new(own: &EventNames, of_format: &[(&str, Kind)], others: bool) -> Vocabulary {
        let mut names = own.names.clone();
        names.extend(of_format.iter().map(|&(name, kind)| (name.to_string(), kind)));
        Vocabulary { names, others: own.others || others }
    }

    /// The kind of the event called `name`. A scan: the lists are short and most comparisons end at the length.
    pub(super) fn kind(&self, field: Field<'_>, name: &str) -> Result<Kind, Reject> {
        match self.names.iter().find(|(known, _)| known == name) {
            Some(&(_, kind)) => Ok(kind),
            None if self.others => Ok(Kind::Other),
            None => {
                let detail = format!("{field}: no kind of event is called {} (--event-names)", quoted(name));
                Err(Reject::new(Reason::UnknownEvent, detail))
            }
        }
    }
}

/// Whose basket an event is about.
pub(super) struct About<'a> {
    pub(super) basket: Option<Cow<'a, str>>,
    pub(super) user: Option<Cow<'a, str>>,
    /// The field that would hold the basket's id, for the reject when it is absent.
    pub(super) basket_field: &'a str,
    /// What an event without the id is.
    pub(super) without_basket: WithoutBasket,
    /// The id of the order, where a purchase that repeats one is to be dropped.
    pub(super) order: Option<Cow<'a, str>>,
}

/// What an event is that has no id for the basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutBasket {
    /// A defect.
    Reject,
    /// Events of its kind lack the id by rule: it is about something else.
    Other,
    /// Its visitor gave no consent, so that it has no ids by rule.
    Anonymous,
}

/// One item of an event.
pub(super) struct Line<'a> {
    pub(super) item: Cow<'a, str>,
    pub(super) quantity: Option<Quantity>,
    /// Where the quantity stands, for the reject.
    pub(super) field: Field<'a>,
}

/// Where the events of one record go.
pub(super) struct Sink<'s> {
    events: &'s mut Vec<Event>,
    pub(super) limits: &'s Limits,
    recent: Option<&'s mut Recent>,
    /// The envelope's id stands for the whole record: ids inside are not looked at.
    has_record_id: bool,
    position: Position,
    /// When what is said happened.
    time: Millis,
    /// Which of several events of the record is decoded.
    event: Option<u32>,
    /// The record's key, as it is.
    pub(super) key: Option<&'s [u8]>,
    /// Whether views are events.
    pub(super) keeps_views: bool,
    pub(super) counts: Counts,
    defects: Option<Box<Defects>>,
}

/// What was understood and is no event.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) views: u32,
    pub(super) others: u32,
    pub(super) anonymous: u32,
    duplicates: u32,
    repeated_orders: u32,
    pub(super) header: bool,
}

/// How far a sink had come at one moment.
pub(super) struct Mark {
    position: Position,
    events: usize,
    ids: usize,
    counts: Counts,
    /// Nearly always none.
    defects: Option<Box<Defects>>,
}

impl<'s> Sink<'s> {
    /// A sink for the record at `position`; without `recent`, no event is a duplicate.
    pub(super) fn new(
        events: &'s mut Vec<Event>,
        limits: &'s Limits,
        mut recent: Option<&'s mut Recent>,
        position: Position,
    ) -> Sink<'s> {
        if let Some(recent) = &mut recent {
            recent.begin();
        }
        Sink {
            events,
            limits,
            recent,
            has_record_id: false,
            position,
            time: 0,
            event: None,
            key: None,
            keeps_views: false,
            counts: Counts::default(),
            defects: None,
        }
    }

    /// The record is understood, at least in part: its ids are remembered. Where no part of it could be used, it is
    /// rejected for the first defect.
    pub(super) fn accept(mut self) -> Result<Decoded, Reject> {
        let is_used = self.position.index > 0 || self.counts != Counts::default();
        let defects = self.defects.as_deref_mut();
        if let Some(first) = defects.filter(|_| !is_used).and_then(|defects| defects.parts.first_mut()) {
            return Err(Reject::new(first.reject.reason, std::mem::take(&mut first.reject.detail)));
        }
        if let Some(recent) = self.recent {
            recent.accept();
        }
        let Counts { views, others, anonymous, duplicates, repeated_orders, header } = self.counts;
        let (events, defects) = (self.position.index, self.defects);
        Ok(Decoded { events, views, others, anonymous, duplicates, repeated_orders, header, defects })
    }

    /// The id that the record's key is, where a basket is made of it.
    pub(super) fn key_id(&self) -> Result<Option<Cow<'static, str>>, Reject> {
        Ok(key::id(self.key, self.limits)?.map(|id| Cow::Owned(id.into_owned())))
    }

    /// The basket that the record's key is was forgotten.
    pub(super) fn forget_key(&mut self) -> Result<(), Reject> {
        let Some(basket) = self.key_id()? else {
            return Err(Reject::new(Reason::Empty, "a tombstone without a key: which basket is gone?"));
        };
        self.push(&basket, None, Action::Forget);
        Ok(())
    }

    /// When what is said from now on happened, if that is known and can be read: no event is lost for its time.
    #[inline]
    pub(super) fn happened(&mut self, time: Result<Option<Millis>, Reject>) {
        if let Some(time) = self.spare(Flaw::UnreadableTime, time) {
            self.time = time;
        }
    }

    /// Bounds the times by that of the record: nothing has happened after it was written down, whatever its sender's
    /// clock said; and where it has no time of its own, it happened then.
    pub(super) fn bound_times(&mut self, written: Option<i64>) {
        let Some(written) = written else { return };
        let written = self.limits.record_time(written).map(Some);
        let Some(written) = self.spare(Flaw::UnreadableRecordTime, written) else { return };
        let first = self.events.len() - self.position.index as usize;
        for event in &mut self.events[first..] {
            event.time = if event.time == 0 { written } else { event.time.min(written) };
        }
    }

    /// A field that an event can do without; where it cannot be read, that is counted.
    #[inline]
    pub(super) fn spare<T>(&mut self, flaw: Flaw, field: Result<Option<T>, Reject>) -> Option<T> {
        field.unwrap_or_else(|reject| {
            self.flaw(flaw, reject.detail);
            None
        })
    }

    #[cold]
    fn flaw(&mut self, flaw: Flaw, detail: String) {
        let defects = self.defects.get_or_insert_default();
        *defects.flaws.entry(flaw).or_default() += 1;
        defects.first_flaw.get_or_insert(detail);
    }

    /// The id of the whole record, from its envelope. False when it was met lately: nothing is left to do.
    pub(super) fn is_new_record(&mut self, id: &str) -> bool {
        self.has_record_id = true;
        self.take_id(id)
    }

    /// Whether there is something to do for an event of `kind` with this id: views and others are counted here, and
    /// duplicates dropped. An id that cannot be read is as good as none.
    #[inline]
    pub(super) fn wants(&mut self, kind: Kind, id: Result<Option<Cow<'_, str>>, Reject>) -> bool {
        match kind {
            Kind::View if !self.keeps_views => self.counts.views += 1,
            Kind::CartView => self.counts.views += 1,
            Kind::Other => self.counts.others += 1,
            _ if self.has_record_id => return true,
            _ => return self.spare(Flaw::UnreadableEventId, id).is_none_or(|id| self.take_id(&id)),
        }
        false
    }

    /// Remembers an id; false if it was met lately.
    fn take_id(&mut self, id: &str) -> bool {
        let is_new = self.recent.as_mut().is_none_or(|recent| recent.is_new(id));
        self.counts.duplicates += u32::from(!is_new);
        is_new
    }

    /// One of several events of the record, at `place` and written as `text`: what is wrong with it costs the others
    /// nothing.
    pub(super) fn one_of_many(
        &mut self,
        place: usize,
        text: impl FnOnce() -> String,
        decode: impl FnOnce(&mut Sink<'s>) -> Result<(), Reject>,
    ) {
        let (mark, time) = (self.mark(), self.time);
        self.event = u32::try_from(place).ok();
        if let Err(reject) = decode(self) {
            self.take_back(mark);
            self.reject_part(None, text, reject);
        }
        (self.event, self.time) = (None, time);
    }

    #[inline]
    pub(super) fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            events: self.events.len(),
            ids: self.recent.as_ref().map_or(0, |recent| recent.pending()),
            counts: self.counts,
            defects: self.defects.clone(),
        }
    }

    /// Whatever was said since `mark` was not.
    pub(super) fn take_back(&mut self, mark: Mark) {
        self.position = mark.position;
        self.events.truncate(mark.events);
        if let Some(recent) = &mut self.recent {
            recent.take_back(mark.ids);
        }
        (self.counts, self.defects) = (mark.counts, mark.defects);
    }

    /// A line, or the whole of one event of several, is not used.
    #[cold]
    fn reject_part(&mut self, line: Option<usize>, text: impl FnOnce() -> String, reject: Reject) {
        let defects = self.defects.get_or_insert_default();
        if defects.parts.len() >= self.limits.part_rejects_max {
            *defects.more.entry(reject.reason).or_default() += 1;
            return;
        }
        let line = line.and_then(|line| u32::try_from(line).ok());
        defects.parts.push(PartReject { event: self.event, line, text: as_shown(&text()), reject });
    }

    /// Appends what an event of `kind` with `lines` says about a basket, by the table above. A line that cannot be
    /// used, written as `text` of its place, costs the others nothing; fails when none can.
    pub(super) fn say<'a>(
        &mut self,
        kind: Kind,
        about: &About<'a>,
        lines: impl ExactSizeIterator<Item = Result<Line<'a>, Reject>>,
        text: impl Fn(usize) -> String,
    ) -> Result<(), Reject> {
        let user = about.user.as_deref();
        let Some(basket) = about.basket.as_deref() else {
            if kind == Kind::Forget && user.is_some() {
                self.push("", user, Action::ForgetUser);
                return Ok(());
            }
            match about.without_basket {
                WithoutBasket::Other => self.counts.others += 1,
                WithoutBasket::Anonymous => self.counts.anonymous += 1,
                WithoutBasket::Reject => {
                    let detail = format!("no id for the basket: {} is absent (--basket)", about.basket_field);
                    return Err(Reject::new(Reason::MissingBasket, detail));
                }
            }
            return Ok(());
        };
        if lines.len() > self.limits.record_items_max {
            let detail = format!("{} items, more than {}", lines.len(), self.limits.record_items_max);
            return Err(Reject::new(Reason::TooManyItems, detail));
        }
        match kind {
            Kind::Clear => self.push(basket, user, Action::Clear),
            Kind::Cancel => self.push(basket, user, Action::Cancel),
            Kind::Forget => self.push(basket, user, Action::Forget),
            Kind::Purchase if lines.len() == 0 => self.push(basket, user, Action::Checkout),
            Kind::Refund if lines.len() == 0 => self.push(basket, user, Action::Cancel),
            // An update that lists nothing says nothing about lines: the address changed, or the payment.
            Kind::Update if lines.len() == 0 => self.counts.others += 1,
            _ if lines.len() == 0 => return Err(Reject::new(Reason::MissingItem, "no item")),
            _ => {
                let order = about.order.as_deref().filter(|_| kind == Kind::Purchase);
                let mark = order.map(|_| self.mark());
                self.say_lines(kind, basket, user, lines, text)?;
                if let (Some(order), Some(mark)) = (order, mark) {
                    self.drop_if_repeated(order, mark);
                }
            }
        }
        Ok(())
    }

    /// Takes back what was said since `mark`, if it repeats an order that was met lately: the same id, and the same
    /// lines in any order. A page that is loaded again sends its purchase again; an order that comes in parts does not
    /// repeat itself.
    fn drop_if_repeated(&mut self, order: &str, mark: Mark) {
        let Some(recent) = &mut self.recent else { return };
        let mut lines: Vec<String> =
            self.events[mark.events..].iter().map(|event| format!("{:?}", event.action)).collect();
        lines.sort_unstable();
        let mut digest = Sha256::new();
        lines.iter().for_each(|line| digest.update(format!("{}:{line}", line.len())));
        let digest = digest.finalize();
        // Event ids begin as their producer likes; hardly any with a control character.
        let mut key = format!("\u{1}order\u{0}{order}\u{0}");
        digest.iter().take(16).for_each(|byte| key.push_str(&format!("{byte:02x}")));
        if !recent.is_new(&key) {
            self.take_back(mark);
            self.counts.repeated_orders += 1;
        }
    }

    fn say_lines<'a>(
        &mut self,
        kind: Kind,
        basket: &str,
        user: Option<&str>,
        lines: impl Iterator<Item = Result<Line<'a>, Reject>>,
        text: impl Fn(usize) -> String,
    ) -> Result<(), Reject> {
        if kind == Kind::Update {
            self.push(basket, user, Action::Cancel);
        }
        let (mut is_used, mut first) = (false, None);
        for (place, line) in lines.enumerate() {
            match line.and_then(|line| self.action(kind, line)) {
                Ok(action) => {
                    if let Some(action) = action {
                        self.push(basket, user, action);
                    }
                    is_used = true;
                }
                Err(reject) => {
                    first.get_or_insert_with(|| reject.clone());
                    self.reject_part(Some(place), || text(place), reject);
                }
            }
        }
        match first {
            Some(reject) if !is_used => Err(reject),
            _ => Ok(()),
        }
    }

    #[inline]
    fn push(&mut self, basket: &str, user: Option<&str>, action: Action<Name>) {
        let (basket, user) = (Name::from(basket), user.map(Name::from));
        self.events.push(Event { position: self.position, basket, user, time: self.time, action });
        self.position.index += 1;
    }

    /// What an event of `kind` says about one line, by the table above; nothing of a line that an order does not hold
    /// any more.
    #[inline]
    fn action(&mut self, kind: Kind, line: Line<'_>) -> Result<Option<Action<Name>>, Reject> {
        let Line { item, quantity, field } = line;
        let (item, one) = (Name::from(item), self.limits.one());
        let units = quantity.map(|quantity| quantity.units);
        let amount = units.map(|units| {
            u32::try_from(units.unsigned_abs()).expect(
                "quantities are checked against Limits::quantity_max, and fit with all their decimals",
            )
        });
        let action = match (kind, amount, units.map_or(0, i64::signum)) {
            (Kind::Update, Some(_), 0) => return Ok(None),
            (Kind::View, ..) => Action::View(item),
            (Kind::Add, None, _) => Action::Add(item, one),
            (Kind::Add, Some(amount), 1) => Action::Add(item, amount),
            (Kind::Add, amount @ Some(_), -1) => Action::Remove(item, amount),
            (Kind::Remove, None, _) | (Kind::Remove, Some(_), 1) => Action::Remove(item, amount),
            (Kind::Set, Some(amount), 0 | 1) => Action::Set(item, amount),
            (Kind::Purchase | Kind::Update, None, _) => Action::Purchase(item, one),
            (Kind::Purchase | Kind::Update, Some(amount), 1) => Action::Purchase(item, amount),
            (Kind::Purchase, amount @ Some(_), -1) => Action::Refund(item, amount),
            (Kind::Refund, None, _) | (Kind::Refund, Some(_), 1) => Action::Refund(item, amount),
            (_, _, sign) => {
                let found = ["it is below 0", "it is 0 or absent", "it is above 0"][(sign + 1) as usize];
                let detail = format!("{field}: {found}, which makes no sense for this kind of event");
                return Err(Reject::new(Reason::BadQuantity, detail));
            }
        };
        if let Some(Quantity { units, is_rounded: true }) = quantity {
            self.rounded(field, units);
        }
        Ok(Some(action))
    }

    #[cold]
    fn rounded(&mut self, field: Field<'_>, units: i64) {
        let counts = units.unsigned_abs() as f64 / f64::from(self.limits.one());
        let detail = format!(
            "{field}: it has more decimals than are kept, and counts as {counts} (--quantity-decimals)"
        );
        self.flaw(Flaw::RoundedQuantity, Reject::new(Reason::BadQuantity, detail).detail);
    }
}
