//! Fields picked out of a JSON record by their paths, in one pass over it.
//!
//! ```text
//! basket=id, item=line_items[].sku, user=customer.id       (root) ─┬─ id ─────────────────────▶ slot 0
//!                                                                  ├─ line_items ─ each ─ sku ─▶ slot 0 of a row
//!                                                                  └─ customer ─ id ──────────▶ slot 1
//! ```
//!
//! What no path leads to is passed over unread. The elements of the one list that items are in are rows.

use super::fields::{Field, Raw};
use super::json::check_depth;
use super::paths::{Path, Step};
use super::{Limits, Reject, broken};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The paths of all fields, joined where they begin alike.
#[derive(Default)]
pub(super) struct Tree {
    root: Node,
    /// How many fields there are outside of the list.
    slots: usize,
    /// How many each row has.
    row_slots: usize,
    /// The way to the list: up to and with its elements.
    list: Option<Vec<Step>>,
}

/// Where a field's value is to be found once it is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Once in the record.
    Once(usize),
    /// In every row.
    Row(usize),
}

#[derive(Default)]
struct Node {
    /// The way here, for rejects.
    path: String,
    /// The slots that take the value that is here: then nothing below it is of interest.
    slots: Vec<Slot>,
    fields: Vec<(String, Node)>,
    each: Option<Box<Node>>,
    at: Vec<(usize, Node)>,
    /// The element of the list is a row.
    begins_row: bool,
}

impl Tree {
    /// A slot for the value at `path`. Fails, with the reason, where paths contradict each other.
    pub(super) fn add(&mut self, path: &Path) -> Result<Slot, String> {
        let steps = &path.0;
        let list = steps.iter().rposition(|step| *step == Step::Each).map(|last| &steps[..=last]);
        let slot = match list {
            None => {
                self.slots += 1;
                Slot::Once(self.slots - 1)
            }
            Some(list) if *self.list.get_or_insert_with(|| list.to_vec()) == list => {
                self.row_slots += 1;
                Slot::Row(self.row_slots - 1)
            }
            Some(_) => return Err(format!("{path} is in another list than the other fields of an item")),
        };
        self.root.add(path, 0, self.list.as_deref().map_or(0, <[Step]>::len), slot)?;
        Ok(slot)
    }

    /// The list that rows come from, as it is written in a path.
    pub(super) fn list_name(&self) -> Option<String> {
        let list = self.list.as_ref()?;
        Some(Path(list[..list.len() - 1].to_vec()).to_string())
    }

    /// Picks the fields out of one record.
    pub(super) fn pick<'a>(&self, text: &'a str, limits: &Limits) -> Result<Picked<'a>, Reject> {
        let mut picked = Picked {
            once: vec![None; self.slots],
            rows: Vec::new(),
            row_slots: self.row_slots,
            row_count: 0,
            has_list: false,
            texts: None,
        };
        self.walk(text, limits, &mut picked)?;
        Ok(picked)
    }

    /// The rows of a record as they are written.
    pub(super) fn row_texts<'a>(&self, text: &'a str, limits: &Limits) -> Vec<&'a RawValue> {
        let mut picked =
            Picked { once: vec![None; self.slots], texts: Some(Vec::new()), ..Picked::default() };
        // It was walked before, and what was rejected then is no list of rows.
        let walked = self.walk(text, limits, &mut picked);
        walked.ok().and(picked.texts).unwrap_or_default()
    }

    fn walk<'a>(&self, text: &'a str, limits: &Limits, picked: &mut Picked<'a>) -> Result<(), Reject> {
        let field = Field::named("value");
        check_depth(field, text, limits)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let walk = Walk { node: &self.root, picked };
        let walked = walk.deserialize(&mut json).and_then(|()| json.end());
        walked.map_err(|error| broken::reject(field, &error, text))
    }
}

impl Node {
    fn add(&mut self, path: &Path, depth: usize, list_depth: usize, slot: Slot) -> Result<(), String> {
        let here = Path(path.0[..depth].to_vec()).to_string();
        let conflict = |what: &str| Err(format!("{path} does not go with another path: {here:?} {what}"));
        self.begins_row |= matches!(slot, Slot::Row(_)) && depth == list_depth;
        let is_leaf = self.fields.is_empty() && self.each.is_none() && self.at.is_empty();
        let Some(step) = path.0.get(depth) else {
            if !is_leaf {
                return conflict("is a value in one and has fields in the other");
            }
            self.path = here;
            self.slots.push(slot);
            return Ok(());
        };
        if !self.slots.is_empty() {
            return conflict("is a value in one and has fields in the other");
        }
        let is_other = match step {
            Step::Name(_) => self.each.is_some() || !self.at.is_empty(),
            Step::Each => !self.fields.is_empty() || !self.at.is_empty(),
            Step::At(_) => !self.fields.is_empty() || self.each.is_some(),
        };
        if is_other {
            return conflict("is an object in one and a list in the other, or a list in two ways");
        }
        self.path = here;
        let next = match step {
            Step::Name(name) => child(&mut self.fields, name),
            Step::Each => self.each.get_or_insert_default(),
            Step::At(at) => child(&mut self.at, at),
        };
        next.add(path, depth + 1, list_depth, slot)
    }
}

/// The child of that name, which is made if there is none.
fn child<'n, K: PartialEq + Clone>(children: &'n mut Vec<(K, Node)>, key: &K) -> &'n mut Node {
    let place = children.iter().position(|(known, _)| known == key).unwrap_or(children.len());
    if place == children.len() {
        children.push((key.clone(), Node::default()));
    }
    &mut children[place].1
}

/// The values that the paths lead to.
#[derive(Default)]
pub(super) struct Picked<'a> {
    once: Vec<Raw<'a>>,
    /// The slots of one row behind those of the other.
    rows: Vec<Raw<'a>>,
    row_slots: usize,
    row_count: usize,
    /// The list that rows come from is there, if only an empty one.
    has_list: bool,
    /// Instead of their slots, the rows as they are written.
    texts: Option<Vec<&'a RawValue>>,
}

impl<'a> Picked<'a> {
    pub(super) fn get(&self, slot: Slot, row: usize) -> Raw<'a> {
        match slot {
            Slot::Once(at) => self.once[at],
            Slot::Row(at) => self.rows[row * self.row_slots + at],
        }
    }

    pub(super) fn row_count(&self) -> usize {
        self.row_count
    }

    pub(super) fn has_list(&self) -> bool {
        self.has_list
    }

    fn begin_row(&mut self) {
        self.row_count += 1;
        self.rows.resize(self.row_count * self.row_slots, None);
    }

    /// Keeps a value. False when its slot has one.
    fn keep(&mut self, slot: Slot, raw: &'a RawValue) -> bool {
        let place = match slot {
            Slot::Once(at) => &mut self.once[at],
            Slot::Row(at) => {
                let row = self.rows.len() - self.row_slots;
                &mut self.rows[row + at]
            }
        };
        if raw.get() == "null" {
            return place.is_none();
        }
        place.replace(raw).is_none()
    }
}

/// One value on its way through the tree.
struct Walk<'n, 'p, 'a> {
    node: &'n Node,
    picked: &'p mut Picked<'a>,
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let Walk { node, picked } = self;
        if node.begins_row {
            if let Some(texts) = &mut picked.texts {
                texts.push(<&RawValue>::deserialize(deserializer)?);
                return Ok(());
            }
            picked.begin_row();
        }
        if node.slots.is_empty() {
            return deserializer.deserialize_any(Walk { node, picked });
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        for &slot in &node.slots {
            if !picked.keep(slot, raw) {
                return Err(D::Error::custom(format_args!("{} is there twice", node.path)));
            }
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { node, picked } = self;
        let Some(each) = &node.each else {
            while let Some(field) = map.next_key_seed(Find(&node.fields))? {
                match field {
                    Some(node) => map.next_value_seed(Walk { node, picked: &mut *picked })?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            return Ok(());
        };
        // PHP writes a list with gaps as an object whose keys are numbers.
        picked.has_list = true;
        while let Some(key) = map.next_key::<String>()? {
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(A::Error::custom(format_args!(
                    "{} is an object where a list is needed",
                    node.path
                )));
            }
            map.next_value_seed(Walk { node: each, picked: &mut *picked })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        let Walk { node, picked } = self;
        if let Some(each) = &node.each {
            picked.has_list = true;
            while list.next_element_seed(Walk { node: each, picked: &mut *picked })?.is_some() {}
            return Ok(());
        }
        for place in 0.. {
            let found = node.at.iter().find(|(at, _)| *at == place);
            let is_there = match found {
                Some((_, node)) => list.next_element_seed(Walk { node, picked: &mut *picked })?.is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.end()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.end()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.end()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.end()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.end()
    }
}

impl Walk<'_, '_, '_> {
    /// A value without parts: the fields below it are absent, but a list it is not.
    fn end<E: Error>(self) -> Result<(), E> {
        if self.node.each.is_some() {
            return Err(E::custom(format_args!("{} is no list", self.node.path)));
        }
        Ok(())
    }
}

/// Finds the child for a key without a copy of the key.
struct Find<'n>(&'n [(String, Node)]);

impl<'a, 'n> DeserializeSeed<'a> for Find<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a, 'n> Visitor<'a> for Find<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(name, _)| name == key).map(|(_, node)| node))
    }
}
