//! What must not compile, and what the compiler then says: `ui-tests/<topic>/<rule>.rs`, the
//! message beside it in `<rule>.stderr`, and the smallest correction in `<rule>_fixed.rs`, which
//! compiles and runs.
//!
//! `UI_MESSAGES=overwrite cargo test -p checks --test compile_fail` writes the messages anew: read
//! each of them before it is committed.

mod build;

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use build::Package;

/// The library's folder, where `ui-tests/` is.
fn library() -> PathBuf {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    folder.canonicalize().expect("this package is in a folder of the library")
}

/// The compiler whose messages are pinned; another one words them differently.
const PINNED: &str = "rustc 1.95.0";
/// A message that is longer is not read.
const MOST_LINES: usize = 20;
/// Words of dfdx's internals and of the compiler's, which say nothing to somebody who wrote down a
/// wrong width.
const FORBIDDEN: [&str; 21] = [
    "E0271",
    "E0282",
    "E0283",
    "E0599",
    "TryMatMul",
    "HasErr",
    "Storage",
    "SplitTape",
    "PutTape",
    "OwnedTape",
    "NoneTape",
    "Backward",
    "Device<",
    "Dtype",
    "BuildOnDevice",
    "TensorCollection",
    "dfdx::tensor",
    "dfdx::shapes",
    "method not found",
    "in this macro invocation",
    "following other types implement",
];

/// A program that must not compile.
struct Rule {
    /// `<topic>/<rule>`.
    name: String,
    program: PathBuf,
}

impl Rule {
    /// Its smallest correction.
    fn fixed(&self) -> PathBuf {
        self.program.with_file_name(format!("{}_fixed.rs", stem(&self.program)))
    }

    /// What the compiler says.
    fn message(&self) -> PathBuf {
        self.program.with_extension("stderr")
    }
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("file names are UTF-8")
}

/// The entries of a folder, in the order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> =
        read.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    paths
}

/// The files of all topics.
fn files() -> Vec<PathBuf> {
    let topics = entries(&library().join("ui-tests")).into_iter().filter(|path| path.is_dir());
    topics.flat_map(|topic| entries(&topic)).collect()
}

fn rules() -> Vec<Rule> {
    let program = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs")
            && !stem(path).ends_with("_fixed")
    };
    files()
        .into_iter()
        .filter(program)
        .map(|program| {
            let topic = program.parent().map(stem).expect("a file is in a folder");
            Rule { name: format!("{topic}/{}", stem(&program)), program }
        })
        .collect()
}

/// The compiler in use, as it names itself.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).arg("--version").output();
    let output = output.unwrap_or_else(|e| panic!("{} --version: {e}", rustc.display()));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Programs by name, `<topic>-<rule>`.
fn named(rules: &[Rule], path: impl Fn(&Rule) -> PathBuf) -> Vec<(String, PathBuf)> {
    rules.iter().map(|rule| (rule.name.replace('/', "-"), path(rule))).collect()
}

#[test]
fn wrong_widths_do_not_compile_and_their_corrections_do() {
    let rules = rules();
    let wrong = named(&rules, |rule| rule.program.clone());
    let package = Package::new(&library(), &wrong, &named(&rules, Rule::fixed));
    package.run_fixed();
    let compiler = compiler();
    if compiler != PINNED && !compiler.starts_with(&format!("{PINNED} ")) {
        // Past the capture of a test's output, so that it is seen.
        writeln!(
            io::stderr(),
            "the pinned messages were left out for {compiler} (expected {PINNED})"
        )
        .expect("stderr can be written to");
        return;
    }
    let names: Vec<String> = wrong.iter().map(|(name, _)| name.clone()).collect();
    let mut found = package.errors("check", &names);
    // Some are found only as a program is built.
    let left: Vec<String> = names.into_iter().filter(|name| !found.contains_key(name)).collect();
    // A line `fits!(Model)` is there so that these are not.
    let missed: Vec<&String> = left.iter().filter(|name| name.starts_with("fits-")).collect();
    assert!(missed.is_empty(), "cargo check says nothing of {missed:?}");
    if !left.is_empty() {
        found.extend(package.errors("build", &left));
    }
    let mut complaints = Vec::new();
    for (rule, (name, _)) in rules.iter().zip(&wrong) {
        let pinned = fs::read_to_string(rule.message()).unwrap_or_default();
        match found.get(name) {
            None => complaints.push(format!("{}: it compiles", rule.name)),
            Some(message) if *message == pinned => {}
            Some(message) if env::var_os("UI_MESSAGES").is_some_and(|v| v == "overwrite") => {
                fs::write(rule.message(), message).expect("a message can be written");
            }
            Some(message) => complaints.push(format!("{}: now it says\n{message}", rule.name)),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_rule_has_its_message_and_its_correction() {
    let rules = rules();
    assert!(!rules.is_empty(), "there are no rules in ui-tests");
    let expected: Vec<PathBuf> = rules
        .iter()
        .flat_map(|rule| [rule.program.clone(), rule.fixed(), rule.message()])
        .collect();
    let found = files();
    let missing: Vec<_> = expected.iter().filter(|path| !found.contains(path)).collect();
    let extra: Vec<_> = found.iter().filter(|path| !expected.contains(path)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:?}\nextra: {extra:?}");
}

#[test]
fn messages_are_short_and_in_the_words_of_layers_and_widths() {
    let mut complaints = Vec::new();
    for rule in rules() {
        let Ok(message) = fs::read_to_string(rule.message()) else {
            continue; // The test above tells.
        };
        complaints.extend(flaws(&message).into_iter().map(|flaw| format!("{}: {flaw}", rule.name)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is not as it should be in a message.
fn flaws(message: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    // Where the name of a type is long rustc adds two lines about a file.
    let of_rustc = ["the full name for the type has been written", "consider using `--verbose`"];
    let counts = |line: &&str| !of_rustc.iter().any(|words| line.contains(words));
    let message = without_list_of_layers(message);
    let lines = message.lines().filter(counts).count();
    if lines > MOST_LINES {
        flaws.push(format!("{lines} lines, {MOST_LINES} at most"));
    }
    let errors = message.lines().filter(|line| line.starts_with("error")).count();
    if errors != 1 {
        flaws.push(format!("{errors} errors for one mistake"));
    }
    let first = message.lines().next().unwrap_or_default();
    if first.starts_with("error[E0308]: mismatched types") {
        if !message.lines().any(names_both_sides) {
            flaws.push("the label does not say what was expected and what was found".to_owned());
        }
    } else if !names_what_and_where(first) {
        flaws.push(format!("the first line names no layer and no width: {first}"));
    }
    flaws.extend(
        FORBIDDEN.iter().filter(|word| message.contains(*word)).map(|word| format!("says {word}")),
    );
    flaws
}

/// Without rustc's list of what implements `Takes`, which it adds where a type is no layer at all,
/// and which only tuples with worse messages of their own would keep away.
fn without_list_of_layers(message: &str) -> String {
    let mut listed = false;
    let mut kept = String::new();
    for line in message.lines() {
        listed = line.contains("following other types implement trait `Takes<")
            || (listed && !line.starts_with("   = "));
        if !listed {
            kept.extend([line, "\n"]);
        }
    }
    kept
}

/// Our own messages: what arrives (a width, a pair) and where (a layer, a head), each in backticks.
fn names_what_and_where(line: &str) -> bool {
    let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let is = |name: &str, of: &[&str]| {
        let short = name.split('<').next().unwrap_or_default().rsplit("::").next();
        short.is_some_and(|short| of.contains(&short))
    };
    if let Some((_, said)) = line.split_once("evaluation panicked: ") {
        // What is computed as the program is built: the layer, the size that follows, and the one
        // that was written.
        let layer = said.split([' ', ':', '<']).next().unwrap_or_default();
        let sizes = said.chars().filter(char::is_ascii_digit).count();
        let layers = ["Conv2d", "Pool2d", "Flatten", "Planes", "Pixels", "DropoutOneIn"];
        return layers.contains(&layer) && sizes >= 2;
    }
    if line.contains("has no classes") {
        return quoted.iter().any(|name| is(name, &["Regression"]));
    }
    let (widths, layers): (Vec<&str>, Vec<&str>) =
        quoted.into_iter().partition(|name| is(name, &["Width", "Pair", "Timed", "Image"]));
    !widths.is_empty() && !layers.is_empty()
}

/// The compiler's own message on arguments: both widths, or both kinds of targets, in one line.
fn names_both_sides(line: &str) -> bool {
    let Some((_, label)) = line.split_once("^ expected ") else {
        return false;
    };
    match label.split_once(", found ") {
        Some((expected, found)) if label.contains('`') => {
            expected.contains('`') && found.contains('`')
        }
        Some((expected, found)) => {
            let digits = |text: &str| text.chars().any(|c| c.is_ascii_digit());
            digits(expected) && digits(found)
        }
        None => false,
    }
}

#[test]
fn flaws_are_found() {
    let good = "error[E0277]: the layer `Dense<784, 64>` does not take a `Width<64, Input>`\n  |\n";
    let list = "   = help: the following other types implement trait `Takes<In>`:\n  `A`\n  `B`\n";
    let other = list.replace("Takes", "Module");
    let found: [(String, &str); 12] = [
        (good.to_owned(), ""),
        (good.to_owned() + list, ""),
        (good.to_owned() + &other, "says following other types implement"),
        (good.to_owned() + list + "   = note: `Storage`\n", "says Storage"),
        (good.repeat(2), "2 errors for one mistake"),
        (String::new(), "0 errors for one mistake"),
        (good.to_owned() + &"  |\n".repeat(19), "21 lines, 20 at most"),
        (good.to_owned() + "the trait `TryMatMul<…>` is not implemented\n", "says TryMatMul"),
        ("error[E0277]: the layer `Dense<784, 64>` is wrong\n".to_owned(), "names no layer"),
        ("error[E0277]: a `Width<64>` is wrong\n".to_owned(), "names no layer"),
        ("error[E0308]: mismatched types\n | ^^^ expected `64`, found `784`\n".to_owned(), ""),
        (
            "error[E0308]: mismatched types\n | ^^^ expected integer, found `f32`\n".to_owned(),
            "label",
        ),
    ];
    for (message, flaw) in found {
        let flaws = flaws(&message).join("\n");
        assert!(flaws.contains(flaw) && flaws.is_empty() == flaw.is_empty(), "{message}{flaws}");
    }
}
