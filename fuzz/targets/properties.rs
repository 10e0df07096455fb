//! A property area, which is the guest's memory. By the first byte: any bytes; an area made as bionic makes it, in which the input
//! changes words; or one whose properties the input names, all of which must be read back as they were written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::android::{properties, reasons};
use std::collections::BTreeMap;

#[path = "../../tests/init/area.rs"]
mod area;

const SIZE: usize = 16 * 1024;
const KNOWN: [(&str, &str); 6] = [
    ("sys.boot_completed", "1"),
    ("ro.build.version.sdk", "28"),
    ("ro.build.version", "nine"),
    ("init.svc.zygote", "running"),
    ("init.svc.a", ""),
    ("b", "short name"),
];

fn read(area: &[u8], name: &[u8]) -> Option<properties::Value> {
    let word = |at: usize| Some(u32::from_ne_bytes(area.get(at..at.checked_add(4)?)?.first_chunk().copied()?));
    properties::read(&word, name)
}

fn filled() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    let mut area = area::Area::format(&mut bytes);
    KNOWN.iter().for_each(|(name, value)| area.set(name, value));
    area.set_long("ro.long", &"x".repeat(200));
    bytes
}

fn any(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else { return };
    let Some((name, area)) = rest.split_at_checked(usize::from(*length)) else { return };
    let _ = read(area, name);
    let _ = reasons::property(area, name).inspect(|value| assert!(value.len() <= area.len()));
    let _ = reasons::wish(name);
    assert!(reasons::clean(name).bytes().iter().all(u8::is_ascii_graphic));
}

/// Four bytes each: where (in words), and what the low bytes of it become.
fn changed(input: &[u8]) {
    let mut area = filled();
    for [at, more, low, high] in input.as_chunks().0 {
        let at = (usize::from(*at) | usize::from(*more) << 8) * 4 % SIZE;
        area[at..at + 2].copy_from_slice(&[*low, *high]);
    }
    for (name, _) in KNOWN.iter().chain([&("ro.long", "")]) {
        let _ = read(&area, name.as_bytes());
    }
}

/// Lines `NAME=VALUE`.
fn written(input: &[u8]) {
    let mut bytes = vec![0; SIZE];
    let mut area = area::Area::format(&mut bytes);
    let mut model = BTreeMap::new();
    let text = String::from_utf8_lossy(input);
    // Each takes 20 bytes for each piece of its name, at most.
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')).take(24) {
        let fits = name.len() < 24 && value.len() < 92 && !value.contains('\0') && !name.is_empty();
        if fits {
            area.set(name, value);
            model.insert(name, value);
        }
    }
    for (name, value) in model {
        assert_eq!(read(&bytes, name.as_bytes()).as_deref(), Some(value.as_bytes()), "{name:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((kind, rest)) if kind % 3 == 0 => any(rest),
        Some((kind, rest)) if kind % 3 == 1 => changed(rest),
        Some((_, rest)) => written(rest),
        None => {}
    }
});
