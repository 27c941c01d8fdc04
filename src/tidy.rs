//! The house rules, as tests: who may import whom, every module documented, no machine's paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the modules of `src/` may import of each other (`file` rules over `folder`). Everything may
/// import `model`; nothing imports a circle.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    // Core: no clock, no I/O.
    ("catalogue", &[]),
    ("index", &["catalogue"]),
    ("session", &["catalogue"]),
    ("auth", &["catalogue"]),
    ("fanout", &["catalogue", "index"]),
    // Shell.
    ("entropy", &[]),
    ("telemetry", &[]),
    ("broker", &["entropy"]),
    ("store", &["auth", "entropy"]),
    ("settings", &["auth", "catalogue", "telemetry"]),
    ("source", &["broker", "catalogue", "index", "telemetry"]),
    ("cluster", &["broker", "entropy", "telemetry"]),
    (
        "gateway",
        &[
            "auth",
            "catalogue",
            "entropy",
            "fanout",
            "index",
            "session",
            "settings",
            "source",
            "telemetry",
        ],
    ),
    (
        "demo",
        &[
            "auth",
            "entropy",
            "settings",
            "source",
            "store",
            // Its tests read events as the dispatcher does.
            "catalogue",
            "fanout",
        ],
    ),
    ("node", &["auth", "cluster", "gateway", "session", "store"]),
    (
        "api",
        &[
            "auth",
            "catalogue",
            "cluster",
            "entropy",
            "gateway",
            "node",
            "settings",
            "source",
            "store",
            "telemetry",
        ],
    ),
    // Whole.
    (
        "app",
        &[
            "api",
            "auth",
            "catalogue",
            "cluster",
            "demo",
            "fanout",
            "gateway",
            "index",
            "node",
            "session",
            "settings",
            "source",
            "store",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "auth",
            "catalogue",
            "entropy",
            "gateway",
            "settings",
            "store",
            "telemetry",
        ],
    ),
];

/// Words that core modules must not hold.
const NOT_IN_CORE: [&str; 9] = [
    "tokio::",
    "lapin::",
    "axum::",
    "Instant::now",
    "SystemTime::now",
    "unix_now",
    "unix_millis",
    "std::fs::",
    "std::net::",
];

/// Shell files in folders of the core, each with its reason.
const SHELL_IN_CORE: [&str; 4] = [
    // Hold the cache and the directory of this moment.
    "auth/authority.rs",
    "auth/live.rs",
    // Reads key files at the start.
    "auth/issuer.rs",
    // Tests only.
    "auth/authority_tests.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// Path below `src/` and the text up to its unit tests.
fn modules() -> Vec<(String, String)> {
    let src = root().join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("text");
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default()
                .to_owned();
            (
                path.strip_prefix(&src)
                    .expect("below src")
                    .display()
                    .to_string(),
                code,
            )
        })
        .collect()
}

fn top(file: &str) -> &str {
    file.split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs")
}

#[test]
fn modules_import_downwards_only() {
    let mut wrong = Vec::new();
    for (file, code) in modules() {
        let module = top(&file);
        if ["lib", "main", "tidy", "described"].contains(&module) {
            continue;
        }
        let rule = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        let (_, allowed) = rule.unwrap_or_else(|| panic!("{file}: no rule for this module"));
        let imported: BTreeSet<&str> = code
            .split("crate::")
            .skip(1)
            .filter_map(|rest| {
                rest.split(|c: char| !c.is_ascii_lowercase() && c != '_')
                    .next()
            })
            .collect();
        for import in imported {
            // Everything may use the words, and every test what is said of it.
            let common = ["model", "described"].contains(&import);
            if import != module && !common && !allowed.contains(&import) {
                wrong.push(format!("{file} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_knows_no_clock_and_no_io() {
    let mut wrong = Vec::new();
    for (file, code) in modules() {
        let core = ["catalogue", "index", "session", "auth", "fanout"].contains(&top(&file));
        if core && !SHELL_IN_CORE.contains(&file.as_str()) && !file.ends_with("_tests.rs") {
            wrong.extend(
                NOT_IN_CORE
                    .iter()
                    .filter(|word| code.contains(*word))
                    .map(|word| format!("{file}: {word}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    for (file, code) in modules() {
        assert!(
            code.starts_with("//! "),
            "{file} does not begin with its documentation"
        );
    }
}

#[test]
fn no_paths_of_some_machine() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "examples", "benches"] {
        let dir = root().join(dir);
        if dir.exists() {
            sources(&dir, &mut files);
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file).expect("text");
        for path in ["/home/", "/root/", "/Users/"] {
            // This very list is allowed.
            let found = text.contains(path) && !file.ends_with("tidy.rs");
            assert!(!found, "{} names {path}", file.display());
        }
    }
}
