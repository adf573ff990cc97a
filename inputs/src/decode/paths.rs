//! Where the fields of a JSON record are, as a person types it.
//!
//! `basket=id,item=line_items[].sku,quantity=line_items[].quantity,time=created_at,user=customer.id`
//!
//! | written | what it is |
//! |---|---|
//! | `customer.id` | a field of an object that is a field |
//! | `line_items[].sku` | a field of each element of a list |
//! | `notes[0].value` | a field of one element, from 0 |
//! | `"a.b".c` | a name with other characters, as a JSON string |
//! | `sku\|product_id` | the first of them that holds something |
//! | `member+date` | for the basket: all of them together |

use super::FormatError;
use std::fmt;
use std::str::FromStr;

/// Which field of a record is where (`--fields`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPaths {
    /// One, or several that make the basket together.
    pub(super) basket: Vec<Choice>,
    pub(super) item: Choice,
    pub(super) quantity: Choice,
    pub(super) time: Choice,
    pub(super) user: Choice,
    pub(super) event: Choice,
    pub(super) id: Choice,
    /// As it was typed.
    text: String,
}

/// Paths of which the first that holds something counts; none where there is no such field.
pub(super) type Choice = Vec<Path>;

/// One way through objects and lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into the field of an object.
    Name(String),
    /// Into each element of a list.
    Each,
    /// Into one element of a list, from 0.
    At(usize),
}

impl FieldPaths {
    /// These fields, and those of `others` that are not among them.
    pub(super) fn or(self, others: FieldPaths) -> FieldPaths {
        fn or<T>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
            if one.is_empty() { other } else { one }
        }
        FieldPaths {
            basket: or(self.basket, others.basket),
            item: or(self.item, others.item),
            quantity: or(self.quantity, others.quantity),
            time: or(self.time, others.time),
            user: or(self.user, others.user),
            event: or(self.event, others.event),
            id: or(self.id, others.id),
            text: self.text,
        }
    }

    /// Whether records say when they happened.
    pub(super) fn has_time(&self) -> bool {
        !self.time.is_empty()
    }

    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn choice(&mut self, field: &str) -> Option<&mut Choice> {
        Some(match field {
            "item" => &mut self.item,
            "quantity" => &mut self.quantity,
            "time" => &mut self.time,
            "user" => &mut self.user,
            "event" => &mut self.event,
            "id" => &mut self.id,
            _ => return None,
        })
    }
}

impl FromStr for FieldPaths {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<FieldPaths, FormatError> {
        let mut fields = FieldPaths { text: text.to_owned(), ..FieldPaths::default() };
        for part in split(text, ',') {
            let bad = |why: &str| FormatError::BadField { part: part.to_owned(), why: why.to_owned() };
            let (field, paths) = part.split_once('=').ok_or_else(|| bad("there is no = in it"))?;
            if field.trim() == "basket" {
                if !fields.basket.is_empty() {
                    return Err(bad("the basket is named twice"));
                }
                let choices = split(paths, '+').into_iter().map(choice).collect::<Result<_, _>>();
                fields.basket = choices.map_err(|why| bad(&why))?;
                continue;
            }
            let place = fields.choice(field.trim()).ok_or_else(|| bad("no field has that name"))?;
            if !place.is_empty() {
                return Err(bad("the field is named twice"));
            }
            *place = choice(paths).map_err(|why| bad(&why))?;
        }
        Ok(fields)
    }
}

/// The parts of `text` between delimiters that stand outside of quotes.
fn split(text: &str, delimiter: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let is_end = c == delimiter && !is_quoted;
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && is_quoted {
            is_escaped = true;
        } else if c == '"' {
            is_quoted = !is_quoted;
        }
        is_end
    })
    .collect()
}

/// Paths between bars.
pub(super) fn choice(text: &str) -> Result<Choice, String> {
    split(text, '|').into_iter().map(|path| path.trim().parse()).collect()
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Path, String> {
        let bad = |why: &str| format!("the path {text:?} {why}");
        let (mut steps, mut rest) = (Vec::new(), text);
        loop {
            let (step, after) = if let Some(after) = rest.strip_prefix('[') {
                let (place, after) = after.split_once(']').ok_or_else(|| bad("has no ] for its ["))?;
                let at = || place.parse().map(Step::At).map_err(|_| bad("has neither [] nor [0], [1], …"));
                (if place.is_empty() { Step::Each } else { at()? }, after)
            } else {
                let (name, after) = name(rest).ok_or_else(|| bad("has a quote without its partner"))?;
                if name.is_empty() {
                    return Err(bad("has a step without a name"));
                }
                (Step::Name(name), after)
            };
            steps.push(step);
            rest = match after.strip_prefix('.') {
                Some(rest) if !rest.starts_with('[') => rest,
                _ if after.is_empty() => return Ok(Path(steps)),
                _ if after.starts_with('[') => after,
                _ => return Err(bad("goes on after a step without a dot")),
            };
        }
    }
}

/// The name at the front of a path, and what follows it.
fn name(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('"') {
        let end = text.find(['.', '[', '"']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    }
    let mut names = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = names.next()?.ok()?;
    let end = names.byte_offset();
    Some((name, &text[end..]))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if place > 0 => write!(f, ".{name}")?,
                Step::Name(name) => f.write_str(name)?,
                Step::Each => f.write_str("[]")?,
                Step::At(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_good_and_bad() {
        let name = |name: &str| Step::Name(name.to_owned());
        for (text, steps) in [
            ("id", vec![name("id")]),
            ("customer.id", vec![name("customer"), name("id")]),
            ("a[].b[0].c", vec![name("a"), Step::Each, name("b"), Step::At(0), name("c")]),
            ("[].sku", vec![Step::Each, name("sku")]),
            ("a[][]", vec![name("a"), Step::Each, Step::Each]),
            ("\"a.b\\\"[\".c", vec![name("a.b\"["), name("c")]),
            ("größe.n r", vec![name("größe"), name("n r")]),
        ] {
            assert_eq!(text.parse(), Ok(Path(steps)), "{text}");
        }
        for text in [
            "", ".", "a.", ".a", "a..b", "a[", "a]b[", "a[x]", "a[-1]", "a.[]", "a[]b", "\"a", "\"\"",
            "a\"b\"",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_good_and_bad() {
        let fields: FieldPaths = "basket=a+b|c, item=\"x,y\"[].\"+|=\"".parse().unwrap();
        let shown: Vec<Vec<String>> =
            fields.basket.iter().map(|choice| choice.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [vec!["a"], vec!["b", "c"]]);
        assert_eq!(fields.item[0].to_string(), "x,y[].+|=");
        assert!(!fields.has_time());
        for text in
            ["", "basket", "basket=", "basket=a,basket=b", "item=a,item=b", "price=a", "basket=a+", "item=a|"]
        {
            assert!(text.parse::<FieldPaths>().is_err(), "{text}");
        }
        let mixed = "item=own".parse::<FieldPaths>().unwrap().or("item=x,user=y".parse().unwrap());
        assert_eq!((mixed.item[0].to_string(), mixed.user[0].to_string()), ("own".into(), "y".into()));
        assert_eq!(mixed.text(), "item=own");
    }
}
