//! What the documents say of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Whether a file has the whole word.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// Where `FILE::TEST` stands: a module of these tests, a source file of the program, the runs against LXC, the machines that
/// boot, the fuzzers.
fn source(root: &Path, file: &str) -> String {
    let files = match file {
        "parity" => vec!["tests/parity/configs.py".to_owned(), "tests/parity/scripts.py".to_owned()],
        "qemu" => {
            let scenarios =
                fs::read_dir(root.join("tests/qemu/guest")).unwrap().map(|entry| entry.unwrap().file_name());
            scenarios.map(|name| format!("tests/qemu/guest/{}", name.to_str().unwrap())).collect()
        }
        "fuzz" => vec!["fuzz/Cargo.toml".to_owned()],
        source if source.ends_with(".rs") => vec![source.to_owned()],
        module => {
            let module = module.replace("::", "/");
            vec![format!("tests/{module}.rs"), format!("tests/{module}/mod.rs")]
        }
    };
    files.iter().map(|file| fs::read_to_string(root.join(file)).unwrap_or_default()).collect()
}

#[test]
fn docs_name_tests_that_exist() {
    assert_tests_exist("docs/lxc.md", 200);
    assert_tests_exist("docs/safety.md", 75);
}

/// Every row of the tables of a document, of which there are at least so many, names tests, and all of them exist.
fn assert_tests_exist(document: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(document)).unwrap();
    let (mut rows, mut missing) = (0, BTreeSet::new());
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|--")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if matches!(cells.last(), Some(&("tests" | "test"))) {
            continue;
        }
        rows += 1;
        let tests: Vec<&str> = cells.last().unwrap().split('`').filter(|word| word.contains("::")).collect();
        if tests.is_empty() {
            missing.insert(format!("no test: {line}"));
        }
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap();
            if !has_word(&source(root, file), name) {
                missing.insert(format!("there is no {test}"));
            }
        }
    }
    assert!(rows > least, "only {rows} rows in {document}");
    assert!(missing.is_empty(), "{document}: {missing:#?}");
}

#[test]
fn docs_know_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("src/config/keys/table.rs")).unwrap();
    let text = fs::read_to_string(root.join("docs/lxc.md")).unwrap();
    let keys: Vec<&str> = table.split("c\"lxc.").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(keys.len() > 80, "only {} keys", keys.len());
    let unknown: Vec<_> = keys.iter().filter(|key| !text.contains(&format!("`lxc.{key}"))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
