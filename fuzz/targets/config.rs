//! Any bytes as a config: as a file (the first byte is even), or each line as a `-s KEY=VALUE`. What is printed of it must
//! read, and print as the same again; every key that is printed has a value; and the same file with today's names for its keys
//! says the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::config::{self, Config, Sources, update};
use monopod::limits;
use monopod::text::Arena;
use std::cell::RefCell;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

static FILE: LazyLock<(File, CString)> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("monopod-fuzz-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    (file, path)
});

thread_local! {
    /// Used again and again: to ask the system for it takes longer than most inputs.
    static STORAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The config as it prints; None if it is refused.
fn print(text: &[u8], defines: &[&[u8]]) -> Option<String> {
    let (file, path) = &*FILE;
    file.set_len(0).unwrap();
    file.write_all_at(text, 0).unwrap();
    let mut storage = STORAGE.take();
    storage.resize(limits::TEXT_BYTES, 0);
    let arena = Arena::new(&mut storage);
    let sources = Sources { name: c"fuzz", lxcpath: c"/nonexistent", rcfile: Some(path), defines };
    let config: Box<Config<'_>> = config::load(&arena, &sources).ok()?;
    let mut out = String::new();
    config::print(&config, &mut out).unwrap();
    for line in out.lines() {
        let (key, _) = line.split_once('=').expect("a line without a value");
        let got = config::get(&config, key.trim_end().as_bytes(), &mut String::new());
        assert!(got.is_some(), "{line}");
    }
    STORAGE.set(storage);
    Some(out)
}

/// Files of this machine are not the input's business.
fn reads_files(text: &[u8]) -> bool {
    [&b"include"[..], b"lxc.mount"].iter().any(|word| text.windows(word.len()).any(|part| part == *word))
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first().filter(|(_, text)| !reads_files(text)) else { return };
    if kind % 2 == 1 {
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        if let Some(printed) = print(b"", &lines) {
            assert_eq!(print(printed.as_bytes(), &[]), Some(printed));
        }
        return;
    }
    let updated = update::update(text);
    let again = update::update(&updated.text);
    assert_eq!((again.text, again.changed), (updated.text.clone(), 0), "a second time");
    let Some(first) = print(text, &[]) else { return };
    assert_eq!(print(first.as_bytes(), &[]).as_deref(), Some(first.as_str()));
});
