//! Vectors that stay near the size of what they hold.
//!
//! A state of many small vectors that is turned over for months: doubling would leave each half empty, and one that was
//! large once would keep its room for ever. These grow by a quarter, and give room back when a third is not used;
//! so an element is moved a few times more often, and memory follows what there is.

/// A vector grows by at least so many elements.
const LEAST: usize = 2;

/// Makes room for so many more elements.
pub(crate) fn make_room<T>(vector: &mut Vec<T>, more: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(more.max(vector.len() / 4).max(LEAST));
    }
}

/// Appends an element.
pub(crate) fn push<T>(vector: &mut Vec<T>, element: T) {
    make_room(vector, 1);
    vector.push(element);
}

/// Gives room back after elements have gone, if much is left.
pub(crate) fn trim<T>(vector: &mut Vec<T>) {
    let length = vector.len();
    if length == 0 {
        *vector = Vec::new();
    } else if vector.capacity() > length + length / 2 + LEAST {
        vector.shrink_to(length + length / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_what_there_is() {
        let mut vector = Vec::new();
        for element in 0..10_000 {
            push(&mut vector, element);
            assert!(vector.capacity() <= vector.len() * 5 / 4 + LEAST);
        }
        while vector.pop().is_some() {
            trim(&mut vector);
            assert!(vector.capacity() <= vector.len() * 3 / 2 + LEAST);
        }
        assert_eq!(vector.capacity(), 0);
    }
}
