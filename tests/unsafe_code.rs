//! How much of the program is unsafe, counted: it may only become less. That each place has its reason is clippy's business
//! (`undocumented_unsafe_blocks`), that there is none outside of `sys` the compiler's (`unsafe_code`).

use std::fs;
use std::path::Path;

/// Places where the word stands: blocks, functions and impls. Who takes one away writes the new number here; who needs another
/// one has a reason to be asked for.
const PLACES: usize = 164;

/// The files below a directory.
fn files(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path => found.push((path.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())),
        }
    }
}

fn places(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    code.map(|line| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe("].map(|word| line.matches(word).count())
    })
    .map(|counts| counts.iter().sum::<usize>())
    .sum()
}

#[test]
fn unsafe_code_stands_in_sys_only_and_does_not_become_more() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let (inside, outside): (Vec<_>, Vec<_>) = found.iter().partition(|(path, _)| path.contains("/src/sys/"));
    for (path, text) in outside {
        assert_eq!(places(text), 0, "{path}");
    }
    let count: usize = inside.iter().map(|(_, text)| places(text)).sum();
    assert!(count <= PLACES, "{count} places of unsafe code where there were {PLACES}: is there no safe way?");
    if count < PLACES {
        println!("only {count} places of unsafe code are left of {PLACES}: write that here");
    }
}
