//! Numbers that stand for names: [`Item`] and [`Basket`].
//!
//! A number is dense, four bytes long, and the same on every worker of a run. It also says which worker owns what it
//! stands for: `number % workers`. Items and baskets have types of their own, so swapping the two does not compile.
//!
//! # Notes
//! Numbers depend on the order of arrival. They are never published, and no order that can be seen follows them.

use crate::id_vec::impl_id;
use serde::{Deserialize, Serialize};

/// Defines a number that one worker owns.
macro_rules! owned_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(u32);

        impl $name {
            /// The number as a type.
            pub const fn new(number: u32) -> Self {
                $name(number)
            }

            /// The plain number.
            pub const fn number(self) -> u32 {
                self.0
            }

            /// The index of the worker that owns it, of `workers` (at least 1).
            #[inline]
            pub const fn owner(self, workers: u32) -> u32 {
                self.0 % workers
            }

            /// Its number among those of its owner: 0, 1, 2 …
            #[inline]
            pub const fn local(self, workers: u32) -> u32 {
                self.0 / workers
            }

            /// The number that `owner`, one of `workers`, knows as `local`. None if it takes more than 32 bits.
            pub fn from_local(local: u32, owner: u32, workers: u32) -> Option<Self> {
                local.checked_mul(workers).and_then(|number| number.checked_add(owner)).map($name)
            }
        }

        impl_id!($name);
    };
}

owned_number! {
    /// An item's number, the same on every worker of a run.
    ///
    /// ```
    /// use deltacart_dataflows::Item;
    /// let item = Item::from_local(5, 1, 4).unwrap();
    /// assert_eq!((item.number(), item.owner(4), item.local(4)), (21, 1, 5));
    /// ```
    ///
    /// An item is not a basket:
    ///
    /// ```compile_fail
    /// use deltacart_dataflows::{Basket, Interaction, Item, Weight};
    /// let (basket, item) = (Basket::new(1), Item::new(2));
    /// let _: Interaction = Interaction { basket: item, item: basket, weight: Weight::One };
    /// ```
    Item
}

owned_number! {
    /// A basket's number, the same on every worker of a run.
    Basket
}
