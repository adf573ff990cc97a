//! A vector that is indexed by one kind of number only.
//!
//! ```text
//! supports: IdVec<Item, u32>        supports[item]     finds n(item)
//!                                   supports[basket]   does not compile
//! ```
//!
//! Most state is one value per item, per basket or per row. In a plain vector any number finds a value, also one of the
//! wrong kind. An [`IdVec`] takes its own kind.

use crate::state_stats::bytes;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A dense number of one kind.
pub(crate) trait Id: Copy {
    /// The number at a place in a vector.
    fn from_index(index: usize) -> Self;

    /// Its place in a vector.
    fn index(self) -> usize;
}

/// Makes a number of 32 bits an [`Id`].
macro_rules! impl_id {
    ($name:ident) => {
        impl crate::id_vec::Id for $name {
            #[inline]
            fn from_index(index: usize) -> Self {
                $name(index as u32)
            }

            #[inline]
            fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
pub(crate) use impl_id;

/// Defines a number that one worker uses by itself.
macro_rules! local_id {
    ($(#[$doc:meta])* $vis:vis $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        $vis struct $name(u32);

        crate::id_vec::impl_id!($name);
    };
}
pub(crate) use local_id;

/// One value for each number from 0 to the largest that was needed.
#[derive(Clone, Debug)]
pub(crate) struct IdVec<I, T> {
    /// The value of each number.
    values: Vec<T>,
    /// Makes the kind of number a part of the type.
    id: PhantomData<fn(I)>,
}

impl<I, T> Default for IdVec<I, T> {
    fn default() -> Self {
        IdVec { values: Vec::new(), id: PhantomData }
    }
}

impl<I: Id, T> IdVec<I, T> {
    /// One more than the largest number that has a value.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values in the order of their numbers.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// The value of a number, if it has one.
    #[inline]
    pub(crate) fn get(&self, id: I) -> Option<&T> {
        self.values.get(id.index())
    }

    /// The value of a number, to be changed, if it has one.
    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.values.get_mut(id.index())
    }

    /// Gives the next number to a value.
    pub(crate) fn push(&mut self, value: T) -> I {
        self.values.push(value);
        I::from_index(self.values.len() - 1)
    }

    /// The bytes that the vector has allocated, without what its values point to.
    pub(crate) fn bytes(&self) -> u64 {
        bytes(&self.values)
    }
}

impl<I: Id, T: Default> IdVec<I, T> {
    /// Gives a default value to every number below `len` that has none.
    pub(crate) fn make_room(&mut self, len: usize) {
        if self.values.len() < len {
            self.values.resize_with(len, T::default);
        }
    }

    /// The value of a number, which is the default one if it had none.
    #[inline]
    pub(crate) fn get_or_default(&mut self, id: I) -> &mut T {
        self.make_room(id.index() + 1);
        &mut self.values[id.index()]
    }
}

impl<I: Id, T> Index<I> for IdVec<I, T> {
    type Output = T;

    #[inline]
    fn index(&self, id: I) -> &T {
        &self.values[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for IdVec<I, T> {
    #[inline]
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.values[id.index()]
    }
}
