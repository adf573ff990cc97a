//! Lists as a table for people.
//!
//! # Notes
//!
//! Ids come from anybody. Control and format characters, on which a terminal might act, are written as escapes. Among
//! the latter are those that change the direction of writing. Long ids are cut.

use crate::output::{Decimal, Published};
use std::io::{self, Write};

/// The longest id that is shown whole, in characters.
const ID_CHARS_MAX: usize = 40;

/// One line of the table.
struct Row {
    item: String,
    rank: String,
    neighbour: String,
    score: Option<Decimal>,
    count: String,
}

/// Writes a table with the columns `item rank neighbour score count`, and the neighbours of an item by rank.
///
/// `None` stands for a list that has become empty. If no list has scores, the columns of score and count are left
/// out.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_table<'a>(
    out: &mut dyn Write,
    lists: impl Iterator<Item = (&'a str, Option<&'a Published>)>,
) -> io::Result<()> {
    let rows: Vec<Row> = lists.flat_map(|(item, list)| rows(item, list)).collect();
    let widest = |title: &str, length: &dyn Fn(&Row) -> usize| {
        rows.iter().map(length).max().unwrap_or_default().max(title.len())
    };
    let item_width = widest("item", &|row| row.item.chars().count());
    let rank_width = widest("rank", &|row| row.rank.len());
    if rows.iter().all(|row| row.score.is_none()) {
        writeln!(out, "{:item_width$}  {:>rank_width$}  neighbour", "item", "rank")?;
        for Row { item, rank, neighbour, .. } in &rows {
            writeln!(out, "{item:item_width$}  {rank:>rank_width$}  {neighbour}")?;
        }
        return Ok(());
    }
    let digits = rows.iter().filter_map(|row| row.score).map(Decimal::digits).max().unwrap_or_default();
    let scored = |row: &Row| row.score.map_or(String::new(), |score| score.to_fixed(digits));
    let neighbour_width = widest("neighbour", &|row| row.neighbour.chars().count());
    let score_width = widest("score", &|row| scored(row).len());
    let count_width = widest("count", &|row| row.count.len());
    let mut write_row = |item: &str, rank: &str, neighbour: &str, score: &str, count: &str| {
        let line = format!(
            "{item:item_width$}  {rank:>rank_width$}  {neighbour:neighbour_width$}  {score:>score_width$}  \
             {count:>count_width$}"
        );
        writeln!(out, "{}", line.trim_end())
    };
    write_row("item", "rank", "neighbour", "score", "count")?;
    for row in &rows {
        write_row(&row.item, &row.rank, &row.neighbour, &scored(row), &row.count)?;
    }
    Ok(())
}

/// The rows of one list. Only the first row names the item.
fn rows(item: &str, list: Option<&Published>) -> Vec<Row> {
    let item = shortened(item);
    let Some(list) = list else {
        let neighbour = "(no list any more)".to_owned();
        return vec![Row { item, rank: "-".to_owned(), neighbour, score: None, count: String::new() }];
    };
    let mut first = Some(item);
    let rows = list.entries.iter().map(|entry| Row {
        item: first.take().unwrap_or_default(),
        rank: entry.rank.to_string(),
        neighbour: shortened(&entry.item),
        score: entry.score,
        count: entry.count.map_or(String::new(), |count| count.to_string()),
    });
    rows.collect()
}

/// `text` with escapes for every character that a terminal would not show as it is. A backslash becomes two.
pub fn escaped(text: &str) -> String {
    // Quotes are harmless here. Each has exactly one backslash before it that belongs to its escape.
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn shortened(id: &str) -> String {
    // The id is cut before escaping and after: an escape may be long, and so may be the original.
    let beginning = id.char_indices().nth(ID_CHARS_MAX + 1).map_or(id, |(end, _)| &id[..end]);
    let shown = escaped(beginning);
    match shown.char_indices().nth(ID_CHARS_MAX) {
        Some(_) => shown.chars().take(ID_CHARS_MAX - 1).chain(['…']).collect(),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Entry;
    use proptest::prelude::*;

    fn list(entries: &[(&str, i64, u32)], scores: bool) -> Published {
        let entry = |(rank, &(item, score, count)): (u32, &(&str, i64, u32))| Entry {
            rank,
            item: item.into(),
            score: scores.then(|| Decimal::new(score, 3)),
            count: scores.then_some(count),
        };
        Published { epoch: 1, entries: (1..).zip(entries).map(entry).collect() }
    }

    fn table(lists: &[(&str, Option<&Published>)]) -> String {
        let mut out = Vec::new();
        write_table(&mut out, lists.iter().copied()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn with_scores() {
        let (first, second) =
            (list(&[("21733", 1000, 812), ("22423", 400, 7)], true), list(&[("日本", 5, 1)], true));
        let expected = "\
item    rank  neighbour           score  count
85123A     1  21733               1.000    812
           2  22423               0.400      7
b          1  日本                  0.005      1
c          -  (no list any more)
";
        assert_eq!(table(&[("85123A", Some(&first)), ("b", Some(&second)), ("c", None)]), expected);
    }

    #[test]
    fn without_scores() {
        let list = list(&[("b", 1, 1), ("c", 1, 1)], false);
        assert_eq!(table(&[("a", Some(&list))]), "item  rank  neighbour\na        1  b\n         2  c\n");
    }

    #[test]
    fn hostile_ids() {
        for (id, shown) in [
            ("plain id's \"quotes\"", "plain id's \"quotes\""),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\tc\0", "a\\nb\\tc\\0"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}desrever\u{2066}", "\\u{202e}desrever\\u{2066}"),
            ("\u{2028}\u{feff}\u{200b}", "\\u{2028}\\u{feff}\\u{200b}"),
            ("back\\slash \\\" \\\\'", "back\\\\slash \\\\\" \\\\\\\\'"),
            ("línea 商品 🛒", "línea 商品 🛒"),
        ] {
            assert_eq!(escaped(id), shown);
        }
        assert_eq!(shortened(&"x".repeat(1000)), "x".repeat(39) + "…");
        assert_eq!(shortened(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(shortened(&"\u{1b}".repeat(1000)).chars().count(), 40);
    }

    proptest! {
        #[test]
        fn nothing_reaches_the_terminal_but_text(id: String) {
            let list = list(&[(&id, 1, 1)], true);
            let table = table(&[(&id, Some(&list))]);
            prop_assert_eq!(table.lines().count(), 2);
            prop_assert!(table.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
