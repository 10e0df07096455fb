//! Any bytes as a config file. What is printed of it must read, and print as the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::config::{self, Config, Sources};
use monopod::limits;
use monopod::text::Arena;
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

/// The config as it prints; None if it is refused.
fn print(text: &[u8]) -> Option<String> {
    let (file, path) = &*FILE;
    file.set_len(0).unwrap();
    file.write_all_at(text, 0).unwrap();
    let mut storage = vec![0u8; limits::TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let sources = Sources { name: c"fuzz", lxcpath: c"/nonexistent", rcfile: Some(path), defines: &[] };
    let config: Box<Config<'_>> = config::load(&arena, &sources).ok()?;
    let mut out = String::new();
    config::print(&config, &mut out).unwrap();
    for line in out.lines() {
        let key = line.split(" = ").next().unwrap_or_default();
        let _ = config::get(&config, key.as_bytes(), &mut String::new());
    }
    Some(out)
}

fuzz_target!(|text: &[u8]| {
    // Files of this machine are not the input's business.
    if ["include", "lxc.mount"].iter().any(|word| text.windows(word.len()).any(|part| part == word.as_bytes())) {
        return;
    }
    if let Some(first) = print(text) {
        assert_eq!(print(first.as_bytes()).as_deref(), Some(first.as_str()));
    }
});
