//! No circles among modules: whoever reads a file can read what it builds on first.
//!
//! A module is a file of `src`, `inputs/src` or `dataflows/src`. It depends on the files that define what its
//! code names: by `use`, by a path that begins with `crate`, `super` or `self`, or by a path through a module
//! that it declares or imports. A name that a module only re-exports belongs to the file that defines it.
//! Declaring a module is no dependency. Tests do not count.
//!
//! # Notes
//! Methods are not followed, because calling one needs no name of its file. Nor are names from macros.

use crate::tidy::{RustFile, code, rust_files};
use std::collections::{BTreeMap, BTreeSet};

/// The folders of the crates' sources.
const CRATES: [&str; 3] = ["src", "inputs/src", "dataflows/src"];

/// The files that are still in a circle. Remove a file when it is in none any more; add none.
const IN_A_CIRCLE: [&str; 72] = [
    "inputs/src/decode.rs",
    "inputs/src/decode/baskets.rs",
    "inputs/src/decode/choices.rs",
    "inputs/src/decode/cloudevents.rs",
    "inputs/src/decode/columns.rs",
    "inputs/src/decode/csv.rs",
    "inputs/src/decode/csv/header.rs",
    "inputs/src/decode/csv/row.rs",
    "inputs/src/decode/error.rs",
    "inputs/src/decode/fields.rs",
    "inputs/src/decode/fimi.rs",
    "inputs/src/decode/ga4.rs",
    "inputs/src/decode/json.rs",
    "inputs/src/decode/key.rs",
    "inputs/src/decode/list.rs",
    "inputs/src/decode/mapped.rs",
    "inputs/src/decode/nulls.rs",
    "inputs/src/decode/options.rs",
    "inputs/src/decode/paths.rs",
    "inputs/src/decode/plain.rs",
    "inputs/src/decode/presets.rs",
    "inputs/src/decode/reject.rs",
    "inputs/src/decode/segment.rs",
    "inputs/src/decode/sink.rs",
    "inputs/src/decode/snowplow.rs",
    "inputs/src/decode/snowplow/tsv.rs",
    "inputs/src/decode/snowplow/versions.rs",
    "inputs/src/decode/time_format.rs",
    "inputs/src/decode/tree.rs",
    "inputs/src/decode/utf8.rs",
    "inputs/src/decode/values.rs",
    "inputs/src/decode/wrapped.rs",
    "inputs/src/file/frame.rs",
    "inputs/src/file/frame/json.rs",
    "inputs/src/fuzz.rs",
    "inputs/src/fuzz/schemas.rs",
    "inputs/src/generate.rs",
    "inputs/src/generate/tally.rs",
    "inputs/src/kafka/source.rs",
    "inputs/src/kafka/start.rs",
    "inputs/src/registry.rs",
    "inputs/src/registry/absent.rs",
    "inputs/src/registry/address.rs",
    "inputs/src/registry/asker.rs",
    "inputs/src/registry/avro.rs",
    "inputs/src/registry/avro/scalar.rs",
    "inputs/src/registry/avro/text.rs",
    "inputs/src/registry/client.rs",
    "inputs/src/registry/folder.rs",
    "inputs/src/registry/protobuf.rs",
    "inputs/src/registry/schema.rs",
    "inputs/src/registry/shared.rs",
    "src/cluster.rs",
    "src/cluster/bootstrap.rs",
    "src/cluster/heartbeat.rs",
    "src/dead_letter.rs",
    "src/dead_letter/letter.rs",
    "src/dead_letter/line.rs",
    "src/metrics.rs",
    "src/metrics/page.rs",
    "src/metrics/report.rs",
    "src/metrics/server.rs",
    "src/output.rs",
    "src/output/file.rs",
    "src/output/fold.rs",
    "src/output/kafka.rs",
    "src/output/kafka/transaction.rs",
    "src/output/kafka/watch.rs",
    "src/output/parsed_record.rs",
    "src/output/sink.rs",
    "src/worker.rs",
    "src/worker/running.rs",
];

#[test]
fn modules_have_no_circles() {
    let files = rust_files();
    let mut in_circle: BTreeSet<String> = BTreeSet::new();
    let mut new = Vec::new();
    for folder in CRATES {
        let sources = Sources::of(folder, &files);
        for circle in circles(&sources.dependencies()) {
            let paths: Vec<String> = circle.iter().map(|module| sources.path(module)).collect();
            if !paths.iter().all(|path| IN_A_CIRCLE.contains(&path.as_str())) {
                new.push(paths.join("\n  "));
            }
            in_circle.extend(paths);
        }
    }
    assert!(new.is_empty(), "these modules depend on each other in a circle:\n  {}\n", new.join("\n\n  "));
    let mended: Vec<&&str> = IN_A_CIRCLE.iter().filter(|path| !in_circle.contains(**path)).collect();
    assert!(mended.is_empty(), "these are in no circle any more: take them off the list: {mended:?}");
}

/// A path of module names, from the root of the crate.
type Module = Vec<String>;

/// The sources of one crate.
struct Sources {
    folder: String,
    modules: BTreeMap<Module, Source>,
}

/// One file.
struct Source {
    /// Names that it defines at its top.
    defined: BTreeSet<String>,
    /// What it imports or re-exports: the name here, or `*`, and the path as written.
    imported: Vec<(String, Vec<String>)>,
    /// Paths that its code names, imports among them.
    named: Vec<Vec<String>>,
}

impl Sources {
    fn of(folder: &str, files: &[RustFile]) -> Sources {
        let module = |path: &str| -> Option<Module> {
            let inner = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
            Some(inner.split('/').filter(|part| !["lib", "mod"].contains(part)).map(str::to_owned).collect())
        };
        let sources = files.iter().filter(|file| !file.is_test);
        let modules = sources.filter_map(|file| Some((module(&file.path)?, Source::of(file)))).collect();
        Sources { folder: folder.to_owned(), modules }
    }

    /// The path of a module's file.
    fn path(&self, module: &Module) -> String {
        let inner = if module.is_empty() { "lib".to_owned() } else { module.join("/") };
        format!("{}/{inner}.rs", self.folder)
    }

    /// The modules that each module depends on.
    fn dependencies(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let of = |module: &Module, source: &Source| -> BTreeSet<Module> {
            let found = source.named.iter().filter_map(|path| self.resolve(module, path, 0));
            found.filter(|found| found != module).collect()
        };
        self.modules.iter().map(|(module, source)| (module.clone(), of(module, source))).collect()
    }

    /// The module that defines what a path names, as seen from a module. None if it is not of this crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Module::new(),
            "self" => from.clone(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name => match self.child(from, name) {
                Some(child) => child,
                None => return self.resolve_import(from, path, depth),
            },
        };
        while let Some((next, after)) = rest.split_first() {
            match (next.as_str(), self.child(&module, next)) {
                ("super", _) => drop(module.pop()?),
                ("self" | "*", _) => {}
                (_, Some(child)) => module = child,
                _ => {
                    let source = self.modules.get(&module)?;
                    if source.defined.contains(next) {
                        return Some(module);
                    }
                    return self.resolve_import(&module, rest, depth).or(Some(module));
                }
            }
            rest = after;
        }
        self.modules.contains_key(&module).then_some(module)
    }

    /// The module behind a name that a module imports or re-exports, and the rest of the path.
    fn resolve_import(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        // Names re-exported through each other would go on for ever.
        if depth > 8 {
            return None;
        }
        let (name, rest) = path.split_first()?;
        let source = self.modules.get(module)?;
        for (_, import) in source.imported.iter().filter(|(here, import)| here == name && import != path) {
            let whole: Vec<String> = import.iter().chain(rest).cloned().collect();
            if let Some(found) = self.resolve(module, &whole, depth + 1) {
                return Some(found);
            }
        }
        for (_, import) in source.imported.iter().filter(|(here, _)| here == "*") {
            let target = self.resolve(module, &import[..import.len() - 1], depth + 1)?;
            if self.modules.get(&target).is_some_and(|target| target.defined.contains(name)) {
                return Some(target);
            }
        }
        None
    }

    fn child(&self, module: &Module, name: &str) -> Option<Module> {
        let child: Module = module.iter().map(String::as_str).chain([name]).map(str::to_owned).collect();
        self.modules.contains_key(&child).then_some(child)
    }
}

impl Source {
    fn of(file: &RustFile) -> Source {
        let lines: Vec<String> = code(file).into_iter().map(|(_, line)| line).collect();
        let defined = lines.iter().filter_map(|line| defined_name(line)).map(str::to_owned).collect();
        // `pub(in PATH)` names who may see something, and depends on nothing.
        let text = lines.join("\n").replace("pub(in crate", "pub(in_crate");
        let (mut imported, mut named) = (Vec::new(), paths(&text));
        for statement in text.split([';', '}']).filter_map(|part| use_tree(part, &text)) {
            for path in expand(&statement) {
                let (path, here) = match path.split_once(" as ") {
                    Some((path, here)) => (path.to_owned(), Some(here.trim().to_owned())),
                    None => (path, None),
                };
                let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
                let name = match path.as_slice() {
                    [.., module, last] if last == "self" => module,
                    [.., last] => last,
                    [] => continue,
                };
                imported.push((here.unwrap_or_else(|| name.clone()), path.clone()));
                named.push(path);
            }
        }
        Source { defined, imported, named }
    }
}

/// The name that a line at the top of a file defines.
fn defined_name(line: &str) -> Option<&str> {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric() && !"_!".contains(letter));
    if line.starts_with([' ', '}', ')']) {
        return None;
    }
    let kinds = ["struct", "enum", "fn", "type", "trait", "const", "static", "macro_rules!"];
    words.find(|word| kinds.contains(word))?;
    words.find(|word| !word.is_empty() && !["fn", "unsafe", "extern", "mut"].contains(word))
}

/// What a `use` statement imports, if the text before a `;` ends with one. Braces were not closed by `}`
/// there, so it is looked up in the whole text.
fn use_tree(part: &str, text: &str) -> Option<String> {
    let begin = part.rfind("use ").filter(|begin| {
        let line = part[..*begin].rsplit('\n').next().unwrap_or_default().trim();
        line.is_empty() || line == "pub" || line.starts_with("pub(")
    })?;
    let offset = part.as_ptr() as usize - text.as_ptr() as usize + begin + "use ".len();
    let end = text[offset..].find(';')?;
    Some(text[offset..offset + end].split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The paths of a tree of imports, without braces.
fn expand(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else { return vec![tree.trim().to_owned()] };
    let close = tree.rfind('}').unwrap_or(tree.len());
    let (prefix, mut inner) = (&tree[..open], &tree[open + 1..close]);
    let mut paths = Vec::new();
    while !inner.trim().is_empty() {
        let mut depth = 0usize;
        let end = inner.find(|letter| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            letter == ',' && depth == 0
        });
        let (one, rest) = inner.split_at(end.unwrap_or(inner.len()));
        paths.extend(expand(one.trim()).into_iter().map(|path| format!("{}{path}", prefix.trim())));
        inner = rest.strip_prefix(',').unwrap_or(rest);
    }
    paths
}

/// The paths of two names and more that the code has outside of `use`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter: char| !is_part(letter));
    let words = words.filter(|word| word.contains("::") && !word.starts_with("in_crate"));
    let path = |word: &str| -> Vec<String> {
        word.split("::").filter(|part| !part.is_empty() && !part.contains(':')).map(str::to_owned).collect()
    };
    words.map(path).filter(|path| path.len() > 1).collect()
}

/// The sets of modules that depend on each other, each set with more than one.
fn circles(dependencies: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reached = |from: &Module| -> BTreeSet<Module> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for other in dependencies.get(module).into_iter().flatten() {
                if reached.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        dependencies.keys().map(|it| (it, reached(it))).collect();
    let circle = |module: &Module| -> BTreeSet<Module> {
        reached[module].iter().filter(|other| reached[*other].contains(module)).cloned().collect()
    };
    let all: BTreeSet<BTreeSet<Module>> = dependencies.keys().map(circle).collect();
    all.into_iter().filter(|circle| circle.len() > 1).collect()
}

/// The check itself can fail.
mod checks {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let file = |&(path, text): &(&str, &str)| RustFile {
            path: format!("src/{path}"),
            text: text.to_owned(),
            is_test: false,
        };
        let files: Vec<RustFile> = files.iter().map(file).collect();
        let sources = Sources::of("src", &files);
        let paths = |circle: &BTreeSet<Module>| circle.iter().map(|module| sources.path(module)).collect();
        circles(&sources.dependencies()).iter().map(paths).collect()
    }

    #[test]
    fn circles_are_found() {
        let circle = |files: &[(&str, &str)], expected: &[&str]| {
            let found = circles_of(files);
            let expected: Vec<_> = if expected.is_empty() { vec![] } else { vec![expected.to_vec()] };
            assert_eq!(found, expected, "{files:?}");
        };
        let both = &["src/a.rs", "src/b.rs"];
        circle(&[("a.rs", "use crate::b::B;\npub struct A;"), ("b.rs", "use super::a::A;\nstruct B;")], both);
        circle(
            &[("a.rs", "fn a() { crate::b::b() }"), ("b.rs", "use crate::{\n    a::a,\n};\nfn b() {}")],
            both,
        );
        circle(
            &[("a.rs", "use crate::b;\nfn a() { b::b() }"), ("b.rs", "use crate::a::*;\nfn b() {}")],
            both,
        );
        // A re-exported name is that of its file, so the root is in no circle.
        let root = ("lib.rs", "mod a;\npub use a::A;\nmod b;\npub use b::*;\nuse crate::b::B;");
        circle(&[root, ("a.rs", "pub struct A;"), ("b.rs", "use crate::A;\npub struct B;")], &[]);
        circle(
            &[root, ("a.rs", "use crate::B;\npub struct A;"), ("b.rs", "use crate::A;\npub struct B;")],
            both,
        );
        let parent = ("a.rs", "mod b;\nuse b::B;\npub struct A;");
        circle(&[parent, ("a/b.rs", "use super::A;\nstruct B;")], &["src/a.rs", "src/a/b.rs"]);
        circle(
            &[parent, ("a/b.rs", "struct B;\n#[cfg(test)]\nmod tests {\n    use super::super::A;\n}")],
            &[],
        );
    }
}
