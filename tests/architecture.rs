//! Who may import whom: the layers of `docs/architecture.md`, held against the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folders that say what the crate shows to users, and import from everywhere.
const FACES: [&str; 4] = ["lib", "prelude", "guide", "train"];

/// What a name at the crate's root stands for.
const RE_EXPORTS: [(&str, &str); 3] =
    [("Config", "config"), ("Error", "error"), ("Block", "block")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The code of a file, without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap().replace("$crate::", "");
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What a text takes from the crate's root: of `crate::{a::{B, C}, d}` that is a and d.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| {
            let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
            text[..end].to_owned()
        };
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut fresh) = (1, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                _ if fresh && !c.is_whitespace() => {
                    found.insert(name(&group[i..]));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.remove("");
    found
}

/// Each folder's layer, the lowest first, and the pairs that are exempt.
fn rule() -> (BTreeMap<String, usize>, BTreeSet<(String, String)>) {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let block = |title: &str| {
        let rest = text.split(title).nth(1).unwrap_or_else(|| panic!("no {title}"));
        rest.split("```").nth(1).unwrap().trim_start_matches("text").to_owned()
    };
    let layers = block("<!-- layers -->");
    let lines: Vec<_> = layers.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut at = BTreeMap::new();
    for (layer, line) in lines.iter().rev().enumerate() {
        for name in line.split_whitespace() {
            at.insert(name.to_owned(), layer);
        }
    }
    let pair = |line: &str| {
        let (from, to) = line.split_once("->")?;
        Some((from.trim().to_owned(), to.trim().to_owned()))
    };
    (at, block("<!-- exceptions -->").lines().filter_map(pair).collect())
}

#[test]
fn data_flows_one_way() {
    let (layers, exceptions) = rule();
    let (mut files, mut wrong, mut used) = (Vec::new(), Vec::new(), BTreeSet::new());
    let src = root().join("src");
    sources(&src, &mut files);
    assert!(files.len() > 100, "the sources were not found");
    for path in files {
        let inside = path.strip_prefix(&src).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let own = first.trim_end_matches(".rs").to_owned();
        if FACES.contains(&own.as_str()) {
            continue;
        }
        let Some(layer) = layers.get(&own) else {
            wrong.push(format!("{own} is in no layer"));
            continue;
        };
        for name in imports(&code(&path)) {
            let known = RE_EXPORTS.iter().find(|(shown, _)| *shown == name);
            let name = known.map_or(name, |(_, own)| (*own).to_owned());
            let pair = (own.clone(), name.clone());
            if exceptions.contains(&pair) {
                used.insert(pair);
            } else if name != own && layers.get(&name).is_none_or(|of| of >= layer) {
                wrong.push(format!("{} imports {name}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against docs/architecture.md:\n{}", wrong.join("\n"));
    assert_eq!(used, exceptions, "exceptions that nothing needs");
}

#[test]
fn imports_are_read_from_groups() {
    let code = "use crate::{\n    a::{B, c::D},\n    e,\n    f::G,\n};\nlet x = crate::h::I;";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["a", "e", "f", "h"]);
}
