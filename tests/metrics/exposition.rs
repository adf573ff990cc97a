//! A strict parser of the OpenMetrics text format. Everything that it does not know is an error.

use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The type of each metric family.
    pub(super) families: BTreeMap<String, String>,
    /// The value of each sample, by its name and labels as in `name{label="value"}`.
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// The value of a sample.
    ///
    /// # Panics
    /// When the page has no such sample.
    #[track_caller]
    pub(super) fn get(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("there is no {sample} in {:#?}", self.samples))
    }

    /// The samples with this name, by their labels.
    pub(super) fn all(&self, name: &str) -> BTreeMap<&str, f64> {
        let labelled = self.samples.iter().filter_map(|(sample, &value)| {
            let labels = sample.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value))
        });
        labelled.collect()
    }
}

/// Parses a whole page.
pub(super) fn read(text: &str) -> Result<Page, String> {
    let lines = text.strip_suffix("# EOF\n").ok_or("the last line is not # EOF")?;
    let mut page = Page::default();
    let mut helped: Option<&str> = None;
    let mut family: Option<(&str, &str)> = None;
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
            if !is_name(name) || help.is_empty() || page.families.contains_key(name) {
                return Err(format!("help of no new family: {line}"));
            }
            helped = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| format!("no type: {line}"))?;
            let known = ["counter", "gauge", "histogram", "info"].contains(&kind);
            if !known || helped.take() != Some(name) {
                return Err(format!("type of another family than the help: {line}"));
            }
            page.families.insert(name.into(), kind.into());
            family = Some((name, kind));
        } else {
            let (family, kind) = family.filter(|_| helped.is_none()).ok_or("a sample without a family")?;
            sample(family, kind, line, &mut page)?;
        }
    }
    check_histograms(&page)?;
    Ok(page)
}

fn sample(family: &str, kind: &str, line: &str, page: &mut Page) -> Result<(), String> {
    let wrong = |what: &str| format!("{what}: {line}");
    let (key, number) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    check_labels(labels.strip_suffix('}').ok_or_else(|| wrong("labels without an end"))?)
        .map_err(|what| wrong(&what))?;
    let suffix = name.strip_prefix(family).ok_or_else(|| wrong("of another family"))?;
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    if !suffixes.contains(&suffix) {
        return Err(wrong("not a name of its family's type"));
    }
    let value: f64 = number.parse().map_err(|_| wrong("no number"))?;
    let whole = value >= 0.0 && value.fract() == 0.0;
    let fits = match (kind, suffix) {
        ("counter", _) | ("histogram", "_bucket" | "_count") => whole,
        ("info", _) => value == 1.0,
        _ => value.is_finite(),
    };
    match page.samples.insert(key.into(), value) {
        None if fits => Ok(()),
        None => Err(wrong("no value of its type")),
        Some(_) => Err(wrong("twice")),
    }
}

/// Checks labels of the form `name="value",name="value"`. In a value, `\`, `"` and line breaks are escaped by `\`.
fn check_labels(labels: &str) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || name.contains(':') || !names.insert(name) {
            return Err(format!("the label {name}"));
        }
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().ok_or("a value without an end")? {
                (end, '"') => break end,
                (_, '\\') => {
                    let escape = characters.next().map(|(_, character)| character);
                    escape.filter(|character| "\\\"n".contains(*character)).ok_or("an unknown escape")?;
                }
                (_, character) if character.is_control() => return Err("a control character".into()),
                _ => {}
            }
        };
        rest = &value[end + 1..];
        rest = match rest.strip_prefix(',') {
            Some("") => return Err("a comma without a label".into()),
            Some(more) => more,
            None if rest.is_empty() => rest,
            None => return Err("labels without a comma between them".into()),
        };
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' || at > 0 && byte.is_ascii_digit()
    };
    !name.is_empty() && name.bytes().enumerate().all(fits)
}

/// Checks every histogram without labels: its buckets rise, and the last one is +Inf and equals the count.
fn check_histograms(page: &Page) -> Result<(), String> {
    for (name, _) in page.families.iter().filter(|(_, kind)| *kind == "histogram") {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in page.all(&format!("{name}_bucket")) {
            let bound = labels.strip_prefix("{le=\"").and_then(|labels| labels.strip_suffix("\"}"));
            let bound = bound.ok_or_else(|| format!("{name}: a bucket {labels}"))?;
            buckets.push((bound.parse().map_err(|_| format!("{name}: a bound {bound}"))?, count));
        }
        buckets.sort_by(|x, y| x.0.total_cmp(&y.0));
        let rise = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = (f64::INFINITY, *page.samples.get(&format!("{name}_count")).ok_or("no count")?);
        if !rise || buckets.last() != Some(&last) || !page.samples.contains_key(&format!("{name}_sum")) {
            return Err(format!("{name}: buckets {buckets:?} of {}", last.1));
        }
    }
    Ok(())
}

/// The parser itself refuses invalid pages.
#[test]
fn what_is_no_page_is_refused() {
    let good = "# HELP a Help.\n# TYPE a counter\na_total{b=\"c\\\"\",d=\"\"} 1\na_total 2\n# EOF\n";
    assert_eq!(read(good).unwrap().get("a_total"), 2.0);
    for (from, to) in [
        ("# EOF\n", ""),
        ("# HELP a Help.\n", ""),
        ("TYPE a", "TYPE b"),
        ("counter", "count"),
        ("a_total 2", "a 2"),
        ("a_total 2", "a_total 2.5"),
        ("a_total 2", "a_total -2"),
        ("a_total 2", "a_total"),
        ("a_total 2", "a_total{b=\"c\\\"\",d=\"\"} 1"),
        (",d=", ";d="),
        (",d=", ",b="),
        ("c\\\"", "c\\x"),
        ("} 1", " 1"),
        ("a_total 2\n", "\n"),
    ] {
        let bad = good.replace(from, to);
        assert!(bad != good && read(&bad).is_err(), "{bad}");
    }
    let histogram = "# HELP h Help.\n# TYPE h histogram\nh_sum 1.5\nh_count 2\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n# EOF\n";
    assert!(read(histogram).is_ok());
    for (from, to) in [("h_count 2", "h_count 3"), ("h_sum 1.5\n", ""), ("\"1.0\"} 1", "\"1.0\"} 3")] {
        assert!(read(&histogram.replace(from, to)).is_err(), "{to}");
    }
}
