//! Any bytes as the other files and words that are read of a rootfs, of an image and of the host, and as what is shown or typed at
//! a terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::android::devices;
use monopod::attach::context::passwd;
use monopod::check::program::{self, Program};
use monopod::config::isolation::IdMap;
use monopod::config::{DEFAULT, lxcpath, readiness};
use monopod::idmap::subid;
use monopod::limits;
use monopod::rootfs::format;
use monopod::rootfs::overlay::Layers;
use monopod::terminal::Escape;
use monopod::text::{Quoted, Shown};

fn files(bytes: &[u8]) {
    match program::read(bytes) {
        Program::Script(word) => assert!(!word.is_empty() && word.len() < bytes.len()),
        Program::Elf { machine, wide, .. } => {
            assert!(bytes.len() >= if wide { 58 } else { 46 });
            let _ = program::fits("aarch64", machine, wide);
        }
        Program::Unknown => {}
    }
    let _ = format::fault(bytes, bytes.len() as u64);
    let _ = passwd(bytes, 0).inspect(|shell| assert!(shell.starts_with(b"/") && !shell.contains(&b'\n')));
    let map = IdMap { groups: false, inside: 0, outside: 100_000, count: u32::MAX - 100_000, at: DEFAULT };
    let _ = bytes.split(|byte| *byte == b'\n').filter(|line| subid::grant(line, b"ada", 1000, &map)).count();
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = lxcpath::value_of(text, "lxc.lxcpath").inspect(|value| assert_eq!(value.trim_ascii(), *value));
    }
}

fn words(bytes: &[u8]) {
    let _ = readiness::check(bytes).map(|()| assert!(readiness::conditions(bytes).count() <= limits::CONDITIONS));
    let _ = devices::parse(bytes);
    if let Some(layers) = Layers::read(bytes) {
        assert!(layers.all().map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
}

/// What is shown never steers a terminal, and a string of JSON is one.
fn shown(bytes: &[u8]) {
    assert!(!Shown(bytes).to_string().contains(char::is_control));
    let quoted = Quoted(bytes).to_string();
    let mut letters = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap().chars();
    while let Some(letter) = letters.next() {
        assert!(letter != '"' && !letter.is_control());
        if letter == '\\' {
            match letters.next() {
                Some('u') => assert!(letters.by_ref().take(4).filter(char::is_ascii_hexdigit).count() == 4),
                other => assert!(matches!(other, Some('"' | '\\'))),
            }
        }
    }
}

/// Everything typed goes through, but for keys of the way out.
fn typed(bytes: &[u8]) {
    let mut escape = Escape::default();
    let mut passed = Vec::new();
    assert!(!bytes.iter().any(|byte| escape.typed(*byte, &mut |byte| passed.push(byte))));
    assert_eq!(passed, bytes);
    escape.key = bytes.first().copied();
    passed.clear();
    let out = bytes.iter().any(|byte| escape.typed(*byte, &mut |byte| passed.push(byte)));
    assert!(passed.len() <= bytes.len() && (!out || bytes.contains(&b'q')));
}

fuzz_target!(|bytes: &[u8]| {
    files(bytes);
    words(bytes);
    shown(bytes);
    typed(bytes);
});
