//! Any JSON, by the paths of its fields: `--fields`, and the presets of shops on top of it.

use super::fields::{Field, Raw, string, text};
use super::joined::joined;
use super::nulls::NullWords;
use super::options::{Basket, BasketField, DecodeOptions};
use super::paths::{Choice, FieldPaths, Path, Step, choice};
use super::shops::Shop;
use super::sink::{About, Kind, Line, Sink, Vocabulary, WithoutBasket};
use super::time_format::TimeFormat;
use super::tree::{Picked, Slot, Tree};
use super::{Flaw, FormatError, Limits, Reason, Reject};
use deltacart_dataflows::Millis;
use std::borrow::Cow;

/// The decoder of records whose fields have paths.
pub(super) struct Mapped {
    tree: Tree,
    /// The list that items are in.
    list: Option<String>,
    basket: Vec<Places>,
    item: Places,
    quantity: Places,
    time: Places,
    user: Places,
    event: Places,
    id: Places,
    orders: Option<Orders>,
    null_words: NullWords,
    time_format: Option<TimeFormat>,
}

/// Where a field may be: the first place that holds something counts.
type Places = Vec<Place>;

struct Place {
    slot: Slot,
    /// What the field is called in rejects: inside of the list, without the way there.
    name: String,
    /// An id that stands for nobody.
    nobody: Option<&'static str>,
}

/// How the orders of a shop are told from what else it sends, and what they mean.
struct Orders {
    marks: Places,
    not_orders: Places,
    cancelled: Places,
    status: Places,
    shop: &'static Shop,
}

impl Mapped {
    /// Records as `--fields` describes them.
    pub(super) fn of_any(options: &DecodeOptions) -> Result<Mapped, FormatError> {
        Mapped::new(options.fields.clone(), None, options)
    }

    /// The orders of a shop, with the user's own fields before those of the shop.
    pub(super) fn of_shop(shop: &'static Shop, options: &DecodeOptions) -> Result<Mapped, FormatError> {
        Mapped::new(options.fields.clone().or(shop.fields.parse()?), Some(shop), options)
    }

    fn new(
        fields: FieldPaths,
        shop: Option<&'static Shop>,
        options: &DecodeOptions,
    ) -> Result<Mapped, FormatError> {
        let mut tree = Tree::default();
        let (field, basket) = match &options.basket {
            Basket::Id(BasketField::Auto) => ("basket", fields.basket),
            Basket::Id(BasketField::Order) if shop.is_some() => ("basket", fields.basket),
            Basket::Id(BasketField::Key) => ("key", Vec::new()),
            Basket::Id(BasketField::User) => ("user", vec![fields.user.clone()]),
            Basket::Joined(parts) => {
                let bad = |part: &str, why| FormatError::BadField { part: part.to_owned(), why };
                let part = |part: &String| choice(part).map_err(|why| bad(part, why));
                ("basket", parts.iter().map(part).collect::<Result<_, _>>()?)
            }
            Basket::Id(_) => {
                return Err(options
                    .basket_unknown("auto, with --fields basket=…, user, or paths such as member+date"));
            }
        };
        let is_key = field == "key";
        if (basket.is_empty() && !is_key) || basket.iter().any(Vec::is_empty) {
            return Err(FormatError::FieldMissing(field));
        }
        if fields.item.is_empty() {
            return Err(FormatError::FieldMissing("item"));
        }
        let once = |tree: &mut Tree, paths: &Choice| places(tree, paths, false);
        let mut mapped = Mapped {
            basket: basket.iter().map(|paths| once(&mut tree, paths)).collect::<Result<_, _>>()?,
            item: places(&mut tree, &fields.item, true)?,
            quantity: places(&mut tree, &fields.quantity, true)?,
            time: once(&mut tree, &fields.time)?,
            user: once(&mut tree, &fields.user)?,
            event: once(&mut tree, &fields.event)?,
            id: once(&mut tree, &fields.id)?,
            orders: shop.map(|shop| Orders::new(shop, &mut tree)).transpose()?,
            list: tree.list_name(),
            null_words: options.null_words.clone(),
            time_format: options.time_format.clone(),
            tree,
        };
        let baskets = mapped.basket.iter_mut().flatten();
        let users = mapped.user.iter_mut().chain(baskets.filter(|_| field == "user"));
        users.for_each(|place| place.nobody = shop.and_then(|shop| shop.nobody));
        let is_in_list =
            |places: &Places| places.iter().map(|it| matches!(it.slot, Slot::Row(_))).collect::<Vec<_>>();
        let ways = [is_in_list(&mapped.item), is_in_list(&mapped.quantity)].concat();
        if ways.contains(&true) && ways.contains(&false) {
            let why = "items and quantities are in one list, or neither is in any".to_owned();
            return Err(FormatError::BadField { part: options.fields.text().to_owned(), why });
        }
        Ok(mapped)
    }

    pub(super) fn decode(&self, text: &str, names: &Vocabulary, sink: &mut Sink<'_>) -> Result<(), Reject> {
        let limits = sink.limits;
        if !text.trim_start().starts_with('{') && self.list.as_deref() != Some("") {
            return Err(Reject::new(Reason::WrongShape, "value: no object"));
        }
        let picked = self.tree.pick(text, limits)?;
        let kind = self.kind(&picked, names, limits)?;
        if !sink.wants(kind, self.first_id(&self.id, &picked, limits)) {
            return Ok(());
        }
        sink.happened(self.first_time(&picked, limits));
        let user = sink.spare(Flaw::UnreadableUser, self.first_id(&self.user, &picked, limits));
        let basket = match self.basket.as_slice() {
            [] => sink.key_id()?,
            [places] => self.first_id(places, &picked, limits)?,
            parts => joined(limits, parts.iter().map(|places| self.first_id(places, &picked, limits)))?,
        };
        let about = About {
            basket,
            user,
            basket_field: self
                .basket
                .first()
                .and_then(|places| places.first())
                .map_or("the record's key", |it| &it.name),
            without_basket: WithoutBasket::Reject,
            order: None,
        };
        self.say(kind, &about, &picked, text, sink)
    }

    fn say<'a>(
        &'a self,
        kind: Kind,
        about: &About<'a>,
        picked: &Picked<'a>,
        text: &'a str,
        sink: &mut Sink<'_>,
    ) -> Result<(), Reject> {
        let limits = sink.limits;
        let Some(list) = &self.list else {
            let is_there =
                self.item.iter().chain(&self.quantity).any(|place| picked.get(place.slot, 0).is_some());
            let lines = (0..usize::from(is_there)).map(|_| self.line(kind, None, picked, limits));
            return sink.say(kind, about, lines, |_| String::new());
        };
        // A list that is empty says something about the whole basket; one that is not there may be a path gone wrong.
        let needs_list = !matches!(kind, Kind::Clear | Kind::Cancel | Kind::Forget | Kind::Update);
        if needs_list && !picked.has_list() {
            return Err(Reject::new(Reason::MissingItem, format!("{list} is absent (--fields item)")));
        }
        let lines = (0..picked.row_count()).map(|row| self.line(kind, Some((list, row)), picked, limits));
        let row_text = |row: usize| {
            let texts = self.tree.row_texts(text, limits);
            texts.get(row).map_or_else(String::new, |raw| raw.get().to_owned())
        };
        sink.say(kind, about, lines, row_text)
    }

    fn line<'a>(
        &'a self,
        kind: Kind,
        list: Option<(&'a str, usize)>,
        picked: &Picked<'a>,
        limits: &Limits,
    ) -> Result<Line<'a>, Reject> {
        let (row, field) = (list.map_or(0, |(_list, row)| row), |name: &'a str| match list {
            Some((list, row)) => Field::listed(list, row, name),
            None => Field::named(name),
        });
        let quantity_field = field(self.quantity.first().map_or("quantity", |place| &place.name));
        for place in &self.item {
            if let Some(item) = self.present(limits.id(field(&place.name), picked.get(place.slot, row))?) {
                let quantity = self.quantity.iter().find_map(|place| self.given(picked.get(place.slot, row)));
                let quantity = limits.quantity(quantity_field, kind.quantity(quantity))?;
                return Ok(Line { item, quantity, field: quantity_field });
            }
        }
        let name = self.item.first().map_or("item", |place| &place.name);
        Err(Reject::new(Reason::MissingItem, format!("{}: the item has no id", field(name))))
    }

    /// What a record is about.
    fn kind(&self, picked: &Picked<'_>, names: &Vocabulary, limits: &Limits) -> Result<Kind, Reject> {
        for place in &self.event {
            let field = Field::named(&place.name);
            if let Some(name) = string(field, self.given(picked.get(place.slot, 0)))? {
                return names.kind(field, &name);
            }
        }
        match &self.orders {
            Some(orders) => Ok(orders.kind(picked, limits)),
            None => Ok(Kind::Add),
        }
    }

    fn first_id<'a>(
        &self,
        places: &Places,
        picked: &Picked<'a>,
        limits: &Limits,
    ) -> Result<Option<Cow<'a, str>>, Reject> {
        for place in places {
            let id = limits.id(Field::named(&place.name), picked.get(place.slot, 0))?;
            let id = self.present(id).filter(|id| place.nobody != Some(&**id));
            if id.is_some() {
                return Ok(id);
            }
        }
        Ok(None)
    }

    fn first_time(&self, picked: &Picked<'_>, limits: &Limits) -> Result<Option<Millis>, Reject> {
        for place in &self.time {
            let (field, raw) = (Field::named(&place.name), self.given(picked.get(place.slot, 0)));
            let Some(raw) = raw else { continue };
            return match (&self.time_format, text(field, raw)?) {
                (Some(format), Some(text)) => limits.time_text_in(field, &text, Some(format), None).map(Some),
                _ => limits.time(field, Some(raw)),
            };
        }
        Ok(None)
    }

    fn present<'a>(&self, id: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        id.filter(|id| !self.null_words.has(id))
    }

    /// A value, unless it is an empty text or a word for nothing.
    fn given<'a>(&self, raw: Raw<'a>) -> Raw<'a> {
        raw.filter(|raw| {
            let text = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            text.is_none_or(|text| !text.is_empty() && !self.null_words.has(text))
        })
    }
}

impl Orders {
    fn new(shop: &'static Shop, tree: &mut Tree) -> Result<Orders, FormatError> {
        let mut named = |names: &[&str]| {
            let paths: Choice = names.iter().map(|name| Path(vec![Step::Name((*name).to_owned())])).collect();
            places(tree, &paths, false)
        };
        Ok(Orders {
            marks: named(shop.marks)?,
            not_orders: named(shop.not_orders)?,
            cancelled: named(shop.cancelled.as_slice())?,
            status: named(shop.status.as_slice())?,
            shop,
        })
    }

    fn kind(&self, picked: &Picked<'_>, limits: &Limits) -> Kind {
        let is_there = |places: &Places| places.iter().any(|place| picked.get(place.slot, 0).is_some());
        let is_order = picked.has_list() && (self.marks.is_empty() || is_there(&self.marks));
        if !is_order || is_there(&self.not_orders) {
            return Kind::Other;
        }
        let status = self.status.first().and_then(|place| picked.get(place.slot, 0));
        let status = status.and_then(|raw| limits.id(Field::named("status"), Some(raw)).ok().flatten());
        let is_void = status.is_some_and(|status| self.shop.not_bought.contains(&&*status));
        if is_void || is_there(&self.cancelled) { Kind::Cancel } else { Kind::Update }
    }
}

/// Slots for the paths of one field, which may be in a list if it is of an item.
fn places(tree: &mut Tree, paths: &Choice, is_of_item: bool) -> Result<Places, FormatError> {
    let place = |path: &Path| {
        let bad = |why| FormatError::BadField { part: path.to_string(), why };
        let last_each = path.0.iter().rposition(|step| *step == Step::Each);
        if last_each.is_some() && !is_of_item {
            return Err(bad(
                "only items and quantities may be in a list; [0] is its first element".to_owned()
            ));
        }
        let name = Path(path.0[last_each.map_or(0, |last| last + 1)..].to_vec()).to_string();
        Ok(Place { slot: tree.add(path).map_err(bad)?, name, nobody: None })
    };
    paths.iter().map(place).collect()
}
