//! What events mean: kinds with quantities become actions, under the same rules whatever the format.
//!
//! | kind | quantity absent | above 0 | 0 | below 0 | no items |
//! |---|---|---|---|---|---|
//! | add | 1 | add | reject | remove so many | reject |
//! | remove | all | so many | reject | reject | reject |
//! | set | reject | set | set | reject | reject |
//! | purchase | 1 | purchase | reject | refund so many | checkout |
//! | refund | all | so many | reject | reject | cancel |
//! | update | 1 | purchase, after one cancel | reject | reject | other |
//!
//! Clear, cancel and forget are about the basket: items beside them are not looked at.

use super::duplicates::Recent;
use super::fields::Field;
use super::options::EventNames;
use super::reject::quoted;
use super::{Decoded, Limits, Reason, Reject};
use deltacart_dataflows::{Action, Event, Millis, Name, Position};
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
    View,
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
    /// Events of this kind lack the id by rule: without it they are about something else.
    pub(super) may_lack_basket: bool,
}

/// One item of an event.
pub(super) struct Line<'a> {
    pub(super) item: Cow<'a, str>,
    /// Checked against [`Limits::quantity_max`].
    pub(super) quantity: Option<i64>,
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
    pub(super) decoded: Decoded,
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
        Sink { events, limits, recent, has_record_id: false, position, time: 0, decoded: Decoded::default() }
    }

    /// The record is understood: its ids are remembered.
    pub(super) fn accept(self) -> Decoded {
        if let Some(recent) = self.recent {
            recent.accept();
        }
        Decoded { events: self.position.index, ..self.decoded }
    }

    /// When what is said from now on happened, if that is known.
    pub(super) fn happened(&mut self, time: Millis) {
        if time > 0 {
            self.time = time;
        }
    }

    /// The id of the whole record, from its envelope. False when it was met lately: nothing is left to do.
    pub(super) fn is_new_record(&mut self, id: &str) -> bool {
        self.has_record_id = true;
        self.is_new(id)
    }

    /// Whether there is something to do for an event of `kind` with this id: views and others are counted here, and
    /// duplicates dropped.
    pub(super) fn wants(&mut self, kind: Kind, id: Option<Cow<'_, str>>) -> bool {
        match (kind, id) {
            (Kind::View, _) => self.decoded.views += 1,
            (Kind::Other, _) => self.decoded.others += 1,
            (_, Some(id)) if !self.has_record_id => return self.is_new(&id),
            _ => return true,
        }
        false
    }

    fn is_new(&mut self, id: &str) -> bool {
        let is_new = self.recent.as_mut().is_none_or(|recent| recent.is_new(id));
        self.decoded.duplicate |= !is_new;
        is_new
    }

    /// Appends what an event of `kind` with `lines` says about a basket, by the table above.
    pub(super) fn say<'a>(
        &mut self,
        kind: Kind,
        about: &About<'a>,
        lines: impl ExactSizeIterator<Item = Result<Line<'a>, Reject>>,
    ) -> Result<(), Reject> {
        let user = about.user.as_deref();
        let Some(basket) = about.basket.as_deref() else {
            if kind == Kind::Forget && user.is_some() {
                self.push("", user, Action::ForgetUser);
                return Ok(());
            }
            if about.may_lack_basket {
                self.decoded.others += 1;
                return Ok(());
            }
            let detail = format!("no id for the basket: {} is absent (--basket)", about.basket_field);
            return Err(Reject::new(Reason::MissingBasket, detail));
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
            Kind::Update if lines.len() == 0 => self.decoded.others += 1,
            _ if lines.len() == 0 => return Err(Reject::new(Reason::MissingItem, "no item")),
            _ => {
                if kind == Kind::Update {
                    self.push(basket, user, Action::Cancel);
                }
                for line in lines {
                    self.push(basket, user, action(kind, line?)?);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, basket: &str, user: Option<&str>, action: Action<Name>) {
        let (basket, user) = (Name::from(basket), user.map(Name::from));
        self.events.push(Event { position: self.position, basket, user, time: self.time, action });
        self.position.index += 1;
    }
}

/// What an event of `kind` says about one line, by the table above.
fn action(kind: Kind, line: Line<'_>) -> Result<Action<Name>, Reject> {
    let Line { item, quantity, field } = line;
    let item = Name::from(item);
    let amount = quantity.map(|quantity| {
        u32::try_from(quantity.unsigned_abs())
            .expect("quantities are checked against Limits::quantity_max, a u32")
    });
    let sign = quantity.map_or(0, i64::signum);
    Ok(match (kind, amount, sign) {
        (Kind::Add, None, _) => Action::Add(item, 1),
        (Kind::Add, Some(amount), 1) => Action::Add(item, amount),
        (Kind::Add, amount @ Some(_), -1) => Action::Remove(item, amount),
        (Kind::Remove, None, _) | (Kind::Remove, Some(_), 1) => Action::Remove(item, amount),
        (Kind::Set, Some(amount), 0 | 1) => Action::Set(item, amount),
        (Kind::Purchase | Kind::Update, None, _) => Action::Purchase(item, 1),
        (Kind::Purchase | Kind::Update, Some(amount), 1) => Action::Purchase(item, amount),
        (Kind::Purchase, amount @ Some(_), -1) => Action::Refund(item, amount),
        (Kind::Refund, None, _) | (Kind::Refund, Some(_), 1) => Action::Refund(item, amount),
        _ => {
            let found = quantity.map_or("it is absent".into(), |quantity| format!("it is {quantity}"));
            let detail = format!("{field}: {found}, which makes no sense for this kind of event");
            return Err(Reject::new(Reason::BadQuantity, detail));
        }
    })
}
