//! Counts with their nouns, for messages.

/// A count with its noun. `(s)` in the noun stands for the plural: `line(s) evicted` becomes `1 line evicted` or `2
/// lines evicted`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", noun.replace("(s)", if count == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_and_many() {
        assert_eq!(counted(1, "epoch(s)"), "1 epoch");
        assert_eq!(counted(0, "epoch(s)"), "0 epochs");
        assert_eq!(counted(2, "line(s) evicted from full baskets"), "2 lines evicted from full baskets");
    }
}
