//! Under which licences the dependencies are, and which of them come twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// What asks for no more than to be named.
const GOOD: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The packages that a program with the default features is built of, by name.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = all["resolve"]["nodes"].as_array().unwrap();
    let needs: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| {
            let deps = node["deps"].as_array().unwrap().iter();
            // What only tests need does not go along.
            let normal = deps.filter(|dep| {
                dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
            });
            (node["id"].as_str().unwrap(), normal.map(|dep| dep["pkg"].as_str().unwrap()).collect())
        })
        .collect();
    let packages = all["packages"].as_array().unwrap();
    let root = packages.iter().find(|package| package["name"] == "dfdx-noprop").unwrap();
    let mut found = BTreeSet::new();
    let mut open = vec![root["id"].as_str().unwrap()];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(&needs[id]);
        }
    }
    packages.iter().filter(|p| found.contains(p["id"].as_str().unwrap())).cloned().collect()
}

/// Whether a choice that an expression leaves is good: `A OR (B AND C)`, where AND binds more.
fn is_good(expression: &str) -> bool {
    let of = |word: &str| outside(expression, word);
    match (of(" OR "), of(" AND ")) {
        (choices, _) if choices.len() > 1 => choices.into_iter().any(is_good),
        (_, parts) if parts.len() > 1 => parts.into_iter().all(is_good),
        _ => match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => is_good(inner),
            None => GOOD.contains(&expression),
        },
    }
}

/// The parts between a word, where it is in no parentheses.
fn outside<'e>(expression: &'e str, word: &str) -> Vec<&'e str> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (i, c) in expression.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && i >= begin && expression[i..].starts_with(word) => {
                parts.push(&expression[begin..i]);
                begin = i + word.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[begin..]);
    parts
}

#[test]
fn all_licences_ask_for_no_more_than_to_be_named() {
    let packages = packages();
    assert!(packages.len() > 50, "{}", packages.len());
    let bad: Vec<String> = packages
        .iter()
        .filter(|package| {
            !package["license"].as_str().is_some_and(|l| is_good(&l.replace('/', " OR ")))
        })
        .map(|package| {
            format!("{} {}: {}", package["name"], package["version"], package["license"])
        })
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for (expression, good) in [
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0 OR (MIT AND Zlib)", true),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("GPL-3.0", false),
        ("(MIT OR Zlib) AND GPL-3.0", false),
    ] {
        assert_eq!(is_good(expression), good, "{expression}");
    }
}

#[test]
fn no_package_comes_from_elsewhere_than_the_registry() {
    for package in packages() {
        let source = package["source"].as_str().unwrap_or("path");
        let own = package["name"] == "dfdx-noprop";
        assert!(own || source.starts_with("registry+"), "{} {source}", package["name"]);
    }
}
