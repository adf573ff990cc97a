//! Lists of objects in JSON, of which one bad element costs the others nothing.
//!
//! A list is an array. PHP writes one with gaps as an object whose keys are numbers: its values are the list, in the
//! order in which they stand. All is parsed at once; only when that fails, each element apart.

use super::fields::{Field, Raw};
use super::json::{object, parse};
use super::reject::quoted;
use super::sink::{About, Kind, Line, Sink};
use super::{Limits, Reason, Reject};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::cell::OnceCell;
use std::fmt;
use std::marker::PhantomData;

/// The objects that a field lists.
pub(super) struct List<'a, T> {
    name: &'a str,
    raw: Raw<'a>,
    elements: Vec<Element<T>>,
    /// The elements as they are written, once they are asked for.
    texts: OnceCell<Vec<&'a RawValue>>,
}

enum Element<T> {
    Object(T),
    /// Something that is no object.
    Odd,
    /// An object with a defect of its own, such as a field twice.
    Bad(Reject),
}

/// The objects that a field lists; none where it is absent. Fails when it is no list.
pub(super) fn list<'a, T: Deserialize<'a>>(
    name: &'a str,
    raw: Raw<'a>,
    limits: &Limits,
) -> Result<List<'a, T>, Reject> {
    let mut list = List { name, raw, elements: Vec::new(), texts: OnceCell::new() };
    let Some(raw) = raw else { return Ok(list) };
    match parse::<Elements<Element<T>>>(Field::named(name), raw.get(), limits) {
        Ok(Elements(elements)) => list.elements = elements,
        Err(reject) if reject.reason == Reason::TooDeep || list.texts().is_empty() => return Err(reject),
        Err(_) => {
            let apart = list.texts().iter().map(|text| element(name, text, limits)).collect();
            list.elements = apart;
        }
    }
    Ok(list)
}

/// The elements of a list as they are written; none where the field is absent. Fails when it is no list.
pub(super) fn texts<'a>(name: &str, raw: Raw<'a>, limits: &Limits) -> Result<Vec<&'a RawValue>, Reject> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    parse(Field::named(name), raw.get(), limits).map(|Elements(texts)| texts)
}

fn element<'a, T: Deserialize<'a>>(name: &str, text: &'a RawValue, limits: &Limits) -> Element<T> {
    if !text.get().starts_with('{') {
        return Element::Odd;
    }
    object(Field::named(name), text.get(), limits).map_or_else(Element::Bad, Element::Object)
}

impl<'a, T> List<'a, T> {
    /// The objects among the elements.
    pub(super) fn objects(&self) -> impl Iterator<Item = &T> {
        self.elements.iter().filter_map(|element| match element {
            Element::Object(object) => Some(object),
            Element::Odd | Element::Bad(_) => None,
        })
    }

    /// Appends what an event of `kind` says whose lines these are, each read by `line`.
    pub(super) fn say<'l>(
        &'l self,
        kind: Kind,
        about: &About<'l>,
        sink: &mut Sink<'_>,
        line: impl Fn(usize, &'l T) -> Result<Line<'l>, Reject>,
    ) -> Result<(), Reject> {
        let lines = self.elements.iter().enumerate();
        let lines = lines.map(|(place, element)| self.object(place, element).and_then(|it| line(place, it)));
        sink.say(kind, about, lines, |place| self.text(place))
    }

    /// Decodes each of the events that these are.
    pub(super) fn decode_each<'s>(
        &self,
        sink: &mut Sink<'s>,
        mut decode: impl FnMut(&T, &mut Sink<'s>) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        let (count, count_max) = (self.elements.len(), sink.limits.record_items_max);
        if count > count_max {
            let detail = format!("{}: {count} events, more than {count_max}", self.name);
            return Err(Reject::new(Reason::TooManyItems, detail));
        }
        for (place, element) in self.elements.iter().enumerate() {
            sink.one_of_many(place, || self.text(place), |sink| decode(self.object(place, element)?, sink));
        }
        Ok(())
    }

    fn object<'l>(&'l self, place: usize, element: &'l Element<T>) -> Result<&'l T, Reject> {
        match element {
            Element::Object(object) => Ok(object),
            Element::Bad(reject) => Err(reject.clone()),
            Element::Odd => {
                let detail = format!("{}[{place}]: {} is no object", self.name, quoted(&self.text(place)));
                Err(Reject::new(Reason::WrongShape, detail))
            }
        }
    }

    /// An element as it is written.
    fn text(&self, place: usize) -> String {
        self.texts().get(place).map_or_else(String::new, |text| text.get().to_owned())
    }

    fn texts(&self) -> &[&'a RawValue] {
        self.texts.get_or_init(|| {
            let parsed = self.raw.map(|raw| serde_json::from_str::<Elements<&RawValue>>(raw.get()));
            parsed.and_then(Result::ok).map_or_else(Vec::new, |Elements(texts)| texts)
        })
    }
}

/// The elements of an array, or the values of an object whose keys are numbers.
struct Elements<E>(Vec<E>);

impl<'de, E: Deserialize<'de>> Deserialize<'de> for Elements<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements<E>, D::Error> {
        struct ElementsVisitor<E>(PhantomData<E>);

        impl<'de, E: Deserialize<'de>> Visitor<'de> for ElementsVisitor<E> {
            type Value = Elements<E>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements<E>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Elements<E>, A::Error> {
                let mut elements = Vec::new();
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
                        return Err(A::Error::custom("an object where a list is needed"));
                    }
                    elements.push(map.next_value()?);
                }
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_any(ElementsVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element<T>, D::Error> {
        struct ElementVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ElementVisitor<T> {
            type Value = Element<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Element::Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element<T>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Element::Odd)
            }

            fn visit_unit<E>(self) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }

            fn visit_str<E>(self, _: &str) -> Result<Element<T>, E> {
                Ok(Element::Odd)
            }
        }

        deserializer.deserialize_any(ElementVisitor(PhantomData))
    }
}
