//! Evidence: which kinds of events hold an item in a basket (`--evidence`).
//!
//! ```text
//! units of an item      viewed   in the cart   bought
//! evidence              view     add           purchase     each kind counts or does not
//! published quantity    at least 1 if viewed   +   in the cart   +   bought
//! ```
//!
//! A basket keeps all units of its items, whatever counts, because one kind of event acts on what another left: a
//! checkout buys what adds put into the cart. Evidence decides which items are interactions.

use crate::{Quantity, StateLine, Units};
use std::fmt;
use std::str::FromStr;

/// The kinds of events that hold an item in a basket. At least one of them does.
///
/// # Examples
/// ```
/// use deltacart_dataflows::{Evidence, Units};
/// let in_cart = Units { cart: 2, ..Units::default() };
/// assert_eq!(Evidence::default().to_string(), "add,purchase");
/// assert_eq!(Evidence::default().quantity(in_cart), 2);
/// assert_eq!("view,purchase".parse::<Evidence>().unwrap().quantity(in_cart), 0);
/// assert!("view,clear".parse::<Evidence>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// Whether a viewed item is held.
    view: bool,
    /// Whether units in the cart hold their item.
    add: bool,
    /// Whether units bought hold their item.
    purchase: bool,
}

impl Evidence {
    /// Whether views count.
    pub fn has_views(self) -> bool {
        self.view
    }

    /// The line of a basket's state that holds these units.
    pub(crate) fn state_line<I>(self, item: I, units: Units) -> StateLine<I> {
        let Units { cart, bought, viewed } = units;
        let is_interaction = self.quantity(units) > 0;
        StateLine { item, in_cart: cart > 0, bought: bought > 0, viewed, is_interaction }
    }

    /// The quantity in which a basket holds an item. 0 where nothing that counts holds it.
    pub fn quantity(self, units: Units) -> Quantity {
        let Units { cart, bought, viewed } = units;
        let cart = if self.add { cart } else { 0 };
        let bought = if self.purchase { bought } else { 0 };
        cart.saturating_add(bought).max(u32::from(self.view && viewed))
    }
}

impl Default for Evidence {
    fn default() -> Evidence {
        Evidence { view: false, add: true, purchase: true }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [(self.view, "view"), (self.add, "add"), (self.purchase, "purchase")];
        let names: Vec<&str> =
            kinds.into_iter().filter_map(|(counts, name)| counts.then_some(name)).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Evidence {
    type Err = String;

    fn from_str(text: &str) -> Result<Evidence, String> {
        let mut evidence = Evidence { view: false, add: false, purchase: false };
        for name in text.split(',').map(str::trim) {
            let kind = match name {
                "view" => &mut evidence.view,
                "add" => &mut evidence.add,
                "purchase" => &mut evidence.purchase,
                _ => return Err("evidence is one or more of view, add, purchase, between commas".to_owned()),
            };
            if std::mem::replace(kind, true) {
                return Err(format!("{name} stands twice"));
            }
        }
        Ok(evidence)
    }
}
