//! Any line as a mount entry, as mount options, as a line of mountinfo and of /proc/PID/cgroup.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::cgroup::find;
use monopod::config::{DEFAULT, mounts};
use monopod::pid1::mountinfo;
use monopod::text::Arena;

fuzz_target!(|text: &[u8]| {
    let mut storage = vec![0u8; 1 << 16];
    let arena = Arena::new(&mut storage);
    let mut found = find::Hierarchies::new();
    for line in text.split(|byte| *byte == b'\n') {
        let _ = mounts::entry(&arena, line, DEFAULT);
        let _ = mounts::options(&arena, line);
        let _ = mountinfo::target(line);
        let _ = find::take_line(line, &mut found, &arena);
        for hierarchy in &found {
            if let Some(path) = find::path_in(line, hierarchy) {
                assert!(!path.split(|byte| *byte == b'/').any(|part| part == b".."));
            }
        }
    }
});
