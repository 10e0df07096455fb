//! Any line as a mount entry, as mount options, as a line of mountinfo (whose mount points a guest names) and of
//! /proc/PID/cgroup. Nothing that is read is longer than what it was read of.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::cgroup::find;
use monopod::config::{DEFAULT, mounts};
use monopod::guard::masks;
use monopod::mountinfo;
use monopod::text::Arena;

fn entry(line: &[u8], arena: &Arena<'_>) {
    if let Ok(entry) = mounts::entry(arena, line, DEFAULT) {
        let texts = [entry.source, entry.target, entry.fstype, entry.text, entry.options.data.unwrap_or_default()];
        assert!(texts.iter().all(|text| text.count_bytes() <= line.len().max(4)));
        let again = mounts::entry(arena, entry.text.to_bytes(), DEFAULT).map(|again| (again.options, again.create));
        assert!(again.is_ok_and(|again| again == (entry.options, entry.create)));
    }
    // The data that is left is all that the options are read as the next time.
    if let Ok(options) = mounts::options(arena, line)
        && let Some(data) = options.mount.data
        && let Ok(again) = mounts::options(arena, data.to_bytes())
    {
        assert_eq!(again.mount.data, Some(data));
        assert_eq!((again.mount.flags, again.mount.propagation), (0, 0));
    }
}

fn mountinfo(line: &[u8]) {
    let _ = mountinfo::target(line).inspect(|target| assert!(target.c().count_bytes() <= line.len()));
    if let Some((_, root, place)) = masks::mounted(line) {
        assert!(root.len() + place.len() < line.len());
        for mask in [&b"sys/kernel"[..], b"sysrq-trigger", b""] {
            assert!(masks::below(root, mask).is_none_or(|rest| mask.ends_with(rest)));
        }
    }
}

fuzz_target!(|text: &[u8]| {
    let mut storage = vec![0u8; 1 << 16];
    let arena = Arena::new(&mut storage);
    let mut found = find::Hierarchies::new();
    for line in text.split(|byte| *byte == b'\n') {
        // A config's lines have no NUL when they come here.
        if !line.contains(&0) {
            entry(line, &arena);
        }
        mountinfo(line);
        let _ = find::take_line(line, &mut found, &arena);
        for hierarchy in &found {
            if let Some(path) = find::path_in(line, hierarchy) {
                assert!(!path.split(|byte| *byte == b'/').any(|part| part == b".."));
            }
        }
    }
    for (index, one) in found.iter().enumerate() {
        assert!(found[..index].iter().all(|other| other.mountpoint != one.mountpoint));
    }
});
