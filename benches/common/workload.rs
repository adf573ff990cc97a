//! A workload: changes of the set of interactions, in order, the same for every program that is measured.
//!
//! A change is (basket, item, +1 or −1) and has an effect. A second add of a line and a remove of a missing line are
//! left out when the workload is made, not while a program is measured. So every program, a peer's too, takes in the
//! same collection and needs no set semantics of its own.
//!
//! Baskets and items are numbered from 0 in the order in which they appear, as the job does it. An item's name is its
//! number in seven digits. So breaking a tie by the name's bytes is breaking it by the number, and peers that know
//! only numbers give the same lists.
//!
//! # Notes
//! There are exchange formats for programs in other languages. Changes are lines `basket,item,diff` (`--export`).
//! Lists are lines `item TAB other:count other:count …`, the most similar first, items rising (`--export-lists`).

use super::random::Random;
use super::sources;
use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::{Action, Diff, Event, Name, Position};
use hashbrown::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One change of the set of interactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) basket: u32,
    pub(crate) item: u32,
    /// Whether the line is added; else it is removed.
    pub(crate) comes: bool,
}

impl Change {
    pub(crate) fn diff(self) -> Diff {
        if self.comes { 1 } else { -1 }
    }

    /// The change as an event that a shop would send.
    pub(crate) fn event(self, position: u64) -> Event {
        let item = item_name(self.item);
        Event {
            position: Position { offset: position, ..Position::default() },
            basket: basket_name(self.basket),
            user: None,
            time: 0,
            action: if self.comes { Action::Add(item, 1) } else { Action::Remove(item, None) },
        }
    }
}

/// The name of an item: its number in seven digits.
pub(crate) fn item_name(item: u32) -> Name {
    compact(format_args!("{item:07}"))
}

/// The name of a basket.
pub(crate) fn basket_name(basket: u32) -> Name {
    compact(format_args!("b{basket}"))
}

/// A short text without an allocation.
fn compact(text: std::fmt::Arguments<'_>) -> Name {
    let mut name = Name::default();
    std::fmt::Write::write_fmt(&mut name, text).expect("a text in memory takes everything");
    name
}

/// A workload by its name, `SOURCE` or `SOURCE:removes`. If its data is missing, the result is `None`, and a line
/// says why.
pub(crate) fn make(name: &str, data: &[PathBuf]) -> Result<Option<Vec<Change>>> {
    let (source, removes) = match name.split_once(':') {
        None => (name, false),
        Some((source, "removes")) => (source, true),
        Some(_) => bail!("{name}: only :removes may stand behind a workload"),
    };
    let Some(changes) = sources::read(source, data)? else { return Ok(None) };
    Ok(Some(if removes { mix_removes(&changes, REMOVES_SHARE) } else { changes }))
}

/// Removes for each add in a workload with removes.
const REMOVES_SHARE: f64 = 0.2;

/// The changes with removes among them: after an add, with the chance `share`, a random line is removed.
fn mix_removes(changes: &[Change], share: f64) -> Vec<Change> {
    let mut random = Random::new(20);
    let mut lines = Lines::default();
    let mut mixed = Vec::with_capacity(changes.len() + changes.len() / 4);
    for &change in changes {
        if lines.apply(change) {
            mixed.push(change);
        }
        if change.comes && random.share() < share {
            let (basket, item) = lines.any(&mut random);
            let gone = Change { basket, item, comes: false };
            lines.apply(gone);
            mixed.push(gone);
        }
    }
    mixed
}

/// The set of interactions, from which one can be picked at random.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Vec<(u32, u32)>,
    places: HashMap<(u32, u32), usize, foldhash::fast::FixedState>,
}

impl Lines {
    /// The interactions that are left after all changes.
    pub(crate) fn after(changes: impl Iterator<Item = Change>) -> Self {
        let mut lines = Lines::default();
        for change in changes {
            lines.apply(change);
        }
        lines
    }

    /// Applies a change. Returns false if it has no effect.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        let line = (change.basket, change.item);
        match (change.comes, self.places.get(&line).copied()) {
            (true, None) => {
                self.places.insert(line, self.lines.len());
                self.lines.push(line);
                true
            }
            (false, Some(place)) => {
                self.places.remove(&line);
                self.lines.swap_remove(place);
                if let Some(&moved) = self.lines.get(place) {
                    self.places.insert(moved, place);
                }
                true
            }
            _ => false,
        }
    }

    /// A random interaction. There must be at least one.
    pub(crate) fn any(&self, random: &mut Random) -> (u32, u32) {
        self.lines[random.below(self.lines.len())]
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// All interactions, in no particular order.
    pub(crate) fn all(&self) -> Vec<(u32, u32)> {
        self.lines.clone()
    }
}

/// Makes a workload and writes it to a file for children. `None` if its data is missing.
pub(crate) fn prepare(name: &str, data: &[PathBuf]) -> Result<Option<Prepared>> {
    let Some(changes) = make(name, data)? else { return Ok(None) };
    write(name, &changes).map(Some)
}

/// Writes a workload to a file for children.
pub(crate) fn write(name: &str, changes: &[Change]) -> Result<Prepared> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scratch/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{}.changes", name.replace(':', "-")));
    let mut bytes = Vec::with_capacity(changes.len() * CHANGE_BYTES);
    for change in changes {
        bytes.extend_from_slice(&change.basket.to_le_bytes());
        bytes.extend_from_slice(&(change.item << 1 | u32::from(!change.comes)).to_le_bytes());
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Prepared { name: name.to_owned(), path, changes: changes.len() })
}

/// A workload in its own file.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) changes: usize,
}

const CHANGE_BYTES: usize = 8;

/// Reads the first `limit` changes of a prepared workload. The file is read in pieces: the memory of a large buffer
/// would be reused by the measured program, and not be counted.
pub(crate) fn load(path: &Path, limit: usize) -> Result<Vec<Change>> {
    let bytes = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len() as usize;
    ensure!(bytes.is_multiple_of(CHANGE_BYTES), "{} is cut short", path.display());
    let mut changes = Vec::with_capacity(limit.min(bytes / CHANGE_BYTES));
    let mut file = std::io::BufReader::new(fs::File::open(path)?);
    let mut change = [0; CHANGE_BYTES];
    while changes.len() < changes.capacity() {
        std::io::Read::read_exact(&mut file, &mut change)?;
        let [b0, b1, b2, b3, i0, i1, i2, i3] = change;
        let item = u32::from_le_bytes([i0, i1, i2, i3]);
        let basket = u32::from_le_bytes([b0, b1, b2, b3]);
        changes.push(Change { basket, item: item >> 1, comes: item & 1 == 0 });
    }
    Ok(changes)
}

/// Writes changes as text, for programs in other languages.
pub(crate) fn export(changes: &[Change], out: &mut dyn Write) -> Result<()> {
    let mut out = std::io::BufWriter::new(out);
    for change in changes {
        writeln!(out, "{},{},{}", change.basket, change.item, change.diff())?;
    }
    out.flush()?;
    Ok(())
}
