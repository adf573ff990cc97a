//! A workload: changes of the set of interactions, in order, the same for every program that is measured.
//!
//! A change is (basket, item, +1 or −1) and has an effect: a line that comes twice and a remove of what is not there
//! are left out when the workload is made, not while a program is measured. So every program, a peer's too, takes the
//! same collection and needs no set semantics of its own.
//!
//! Baskets and items are numbered from 0 in the order in which they appear, as the job does it. An item's name is its
//! number in seven digits: so a tie that is broken by the name's bytes is one that is broken by the number, and peers
//! that know only numbers give the same lists.
//!
//! # Notes
//! Exchange formats, for programs in other languages: changes are lines `basket,item,diff` (`--export`), lists are
//! lines `item TAB other:count other:count …`, the most similar first, items rising (`--export-lists`).

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
    /// Whether the line comes, or goes.
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

/// An item's name: see the module's header.
pub(crate) fn item_name(item: u32) -> Name {
    compact(format_args!("{item:07}"))
}

/// A basket's name.
pub(crate) fn basket_name(basket: u32) -> Name {
    compact(format_args!("b{basket}"))
}

/// A short text without an allocation.
fn compact(text: std::fmt::Arguments<'_>) -> Name {
    let mut name = Name::default();
    std::fmt::Write::write_fmt(&mut name, text).expect("a text in memory takes everything");
    name
}

/// A workload by its name, `SOURCE` or `SOURCE:removes`; None, with a line that says why, if its data is not there.
pub(crate) fn make(name: &str, data: &[PathBuf]) -> Result<Option<Vec<Change>>> {
    let (source, removes) = match name.split_once(':') {
        None => (name, false),
        Some((source, "removes")) => (source, true),
        Some(_) => bail!("{name}: only :removes may stand behind a workload"),
    };
    let Some(changes) = sources::read(source, data)? else { return Ok(None) };
    Ok(Some(if removes { mix_removes(&changes, REMOVES_SHARE) } else { changes }))
}

/// Removes for each add of a workload with removes.
const REMOVES_SHARE: f64 = 0.2;

/// The same changes, with removes among them: after an add, by chance, an earlier line goes.
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

/// The interactions as they are, of which one can be picked.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Vec<(u32, u32)>,
    places: HashMap<(u32, u32), usize, foldhash::fast::FixedState>,
}

impl Lines {
    /// Those that are left when all changes have been taken.
    pub(crate) fn after(changes: impl Iterator<Item = Change>) -> Self {
        let mut lines = Lines::default();
        for change in changes {
            lines.apply(change);
        }
        lines
    }

    /// Takes a change; false if it has no effect.
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

    /// One of the lines; there is one.
    pub(crate) fn any(&self, random: &mut Random) -> (u32, u32) {
        self.lines[random.below(self.lines.len())]
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// All of them, in no order that means anything.
    pub(crate) fn all(&self) -> Vec<(u32, u32)> {
        self.lines.clone()
    }
}

/// Makes a workload and writes it where children find it; None if its data is not there.
pub(crate) fn prepare(name: &str, data: &[PathBuf]) -> Result<Option<Prepared>> {
    let Some(changes) = make(name, data)? else { return Ok(None) };
    write(name, &changes).map(Some)
}

/// Writes a workload where children find it.
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

/// A workload in a file of its own.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) changes: usize,
}

const CHANGE_BYTES: usize = 8;

/// The first changes of a prepared workload. Reads them in pieces, so that no large buffer is left behind whose memory
/// the measured program would take over unseen.
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

/// Writes changes as text for programs in other languages.
pub(crate) fn export(changes: &[Change], out: &mut dyn Write) -> Result<()> {
    let mut out = std::io::BufWriter::new(out);
    for change in changes {
        writeln!(out, "{},{},{}", change.basket, change.item, change.diff())?;
    }
    out.flush()?;
    Ok(())
}
