//! Vectors whose capacity stays near their length.
//!
//! The state is made of many small vectors that live for months. Doubling would leave each of them half empty, and a
//! vector that was large once would keep its room. These functions grow a vector by a quarter, and shrink it when a
//! third is unused. An element is moved a few times more often, and memory follows the content.

/// Elements by which a vector grows at least.
const GROWTH_MIN: usize = 2;

/// Makes room for `more` elements.
pub(crate) fn make_room<T>(vector: &mut Vec<T>, more: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(more.max(vector.len() / 4).max(GROWTH_MIN));
    }
}

/// Appends an element.
pub(crate) fn push<T>(vector: &mut Vec<T>, element: T) {
    make_room(vector, 1);
    vector.push(element);
}

/// Gives memory back after elements were removed, if much is unused.
pub(crate) fn trim<T>(vector: &mut Vec<T>) {
    let length = vector.len();
    if length == 0 {
        *vector = Vec::new();
    } else if vector.capacity() > length + length / 2 + GROWTH_MIN {
        vector.shrink_to(length + length / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_follows_the_length() {
        let mut vector = Vec::new();
        for element in 0..10_000 {
            push(&mut vector, element);
            assert!(vector.capacity() <= vector.len() * 5 / 4 + GROWTH_MIN);
        }
        while vector.pop().is_some() {
            trim(&mut vector);
            assert!(vector.capacity() <= vector.len() * 3 / 2 + GROWTH_MIN);
        }
        assert_eq!(vector.capacity(), 0);
    }
}
