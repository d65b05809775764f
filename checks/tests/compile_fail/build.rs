//! All programs, built by one call of cargo each way, and what the compiler says of them.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What the compiler says of each program, by name.
pub type Messages = BTreeMap<String, String>;

/// A package that has the programs, with the dependencies and the profile that the tests have: so
/// nothing is built for it but the library and the programs.
pub struct Package {
    library: PathBuf,
    folder: PathBuf,
}

impl Package {
    /// `wrong` are names and paths of programs, each a binary; `fixed` are modules of one binary.
    pub fn new(library: &Path, wrong: &[(String, PathBuf)], fixed: &[(String, PathBuf)]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
        fs::create_dir_all(&folder).expect("a folder of the target folder can be made");
        let binary =
            |name: &str, path: &Path| format!("[[bin]]\nname = \"{name}\"\npath = {path:?}\n");
        let manifest = [library.join("Cargo.toml"), library.join("checks/Cargo.toml")].map(read);
        let mut text = "[package]\nname = \"ui\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                        autobins = false\n\n[workspace]\n\n[dependencies]\n"
            .to_owned();
        for (name, value) in dependencies(&manifest, library) {
            text += &format!("{name} = {value}\n");
        }
        text.extend(wrong.iter().map(|(name, path)| binary(name, path)));
        text += &binary("fixed", &folder.join("fixed.rs"));
        let profiles = manifest[0].find("[profile.").map_or("", |start| &manifest[0][start..]);
        text += profiles;
        // Cargo builds the library once more for another workspace: quickly instead of to be fast.
        text += "\n[profile.dev.package.dfdx-noprop]\nopt-level = 0\n";
        write(&folder.join("Cargo.toml"), &text);
        write(&folder.join("fixed.rs"), &modules(fixed));
        fs::copy(library.join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file");
        Self { library: library.to_owned(), folder }
    }

    /// What the compiler says of each of the programs that do not get past `command`: `check` or
    /// `build`.
    pub fn errors(&self, command: &str, programs: &[String]) -> Messages {
        let bins = programs.iter().flat_map(|name| ["--bin", name]);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--offline", "--quiet", "--keep-going", "--message-format=json"]);
        if env::current_exe().is_ok_and(|test| test.starts_with(target.join("release"))) {
            cargo.arg("--release");
        }
        cargo.args(bins).current_dir(&self.folder).env("CARGO_TARGET_DIR", target);
        let output = cargo.output().expect("cargo can be run");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut messages = Messages::new();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let message = &line["message"];
            // What is wrong with the package itself comes without a program.
            if line["reason"] != "compiler-message" || message["level"] != "error" {
                continue;
            }
            let (name, text) = (&line["target"]["name"], message["rendered"].as_str());
            let (name, text) = (name.as_str().unwrap_or_default(), text.unwrap_or_default());
            if !text.starts_with("error: aborting due to") {
                *messages.entry(name.to_owned()).or_default() += &self.as_pinned(text);
            }
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || !messages.is_empty(), "{said}");
        messages
    }

    /// Builds the corrections and runs them.
    pub fn run_fixed(&self) {
        let errors = self.errors("build", &["fixed".to_owned()]);
        assert!(errors.is_empty(), "{}", errors["fixed"]);
        let test = env::current_exe().expect("a test is a program");
        let program = test.parent().expect("deps").with_file_name("fixed");
        let output = Command::new(&program).output().expect("the program was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", program.display());
    }

    /// A message without what differs from machine to machine, and without line numbers of the
    /// library, which change with it.
    fn as_pinned(&self, message: &str) -> String {
        let library = format!("{}/", self.library.display());
        let message = message.replace(&library, "");
        let (mut pinned, mut in_library) = (String::new(), false);
        for line in message.trim_end().lines() {
            let bare = line.trim_start();
            if let Some(place) = bare.strip_prefix("--> ").or(bare.strip_prefix("::: ")) {
                in_library = !place.starts_with("ui-tests/");
                let end =
                    if in_library { place.find(':').unwrap_or(place.len()) } else { place.len() };
                pinned += &format!(" {} {}", &bare[..3], &place[..end]);
            } else if let Some((before, _)) = line.split_once("has been written to '") {
                pinned += &format!("{before}has been written to a file");
            } else if let Some((number, code)) = gutter(line) {
                let number = if in_library { "" } else { number };
                pinned += &format!("{number:>2} {code}");
            } else {
                pinned += line;
            }
            pinned.push('\n');
        }
        pinned
    }
}

/// The number and the rest of a line that shows code, or of a note.
fn gutter(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start();
    let code = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &rest[..rest.len() - code.len()];
    let code = code.strip_prefix(' ').unwrap_or(code);
    ["|", "= ", "..."].iter().any(|start| code.starts_with(start)).then_some((number, code))
}

/// One program that has each of the corrections as a module, and runs them all.
fn modules(fixed: &[(String, PathBuf)]) -> String {
    let name = |name: &str| name.replace('-', "_");
    let mut text = String::new();
    for (module, path) in fixed {
        text += &format!("mod {} {{\n    include!({path:?});\n", name(module));
        text +=
            "    pub fn run() {\n        std::process::Termination::report(main());\n    }\n}\n\n";
    }
    text += "fn main() {\n";
    for (module, _) in fixed {
        text += &format!("    {}::run();\n", name(module));
    }
    text + "}\n"
}

/// What the tests of both packages depend on, and the library.
fn dependencies(manifests: &[String; 2], library: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for manifest in manifests {
        let start = manifest.find("[dev-dependencies]\n").expect("a manifest with tests");
        let lines = manifest[start..].lines().skip(1).take_while(|line| !line.starts_with('['));
        for line in lines.filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once('=') {
                let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
                // The longer one asks for more features.
                let before: &mut String = all.entry(name).or_default();
                if value.len() > before.len() {
                    *before = value;
                }
            }
        }
    }
    all.insert("dfdx-noprop".to_owned(), format!("{{ path = {library:?} }}"));
    all
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes a file unless it is there already, so that what is built stays as it is.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return;
    }
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
