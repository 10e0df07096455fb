//! Any bytes as the kernel's command line and boot configuration (for the machine's init, and what a guest is shown of them), as
//! the init's settings and as records of the kernel's log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::android::boot_arguments::{bootconfig, cmdline};
use monopod::android::kmsg::Found;
use monopod::config::own::Own;
use monopod::limits;
use monopod::pid1::settings::Settings;
use monopod::text::Arena;

fn settings(text: &[u8]) {
    let mut storage = vec![0u8; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let (mut file, mut line) = (Settings::default(), Settings::default());
    let _ = file.take_file(text, &arena);
    let _ = line.take_command_line(text, &arena);
    for settings in [file, line] {
        for name in &settings.containers {
            assert!(!name.is_empty() && !name.to_bytes().contains(&b'/') && *name != c"..");
            settings.policy_of(name);
        }
        assert!(settings.lxcpath.is_none_or(|path| path.to_bytes().starts_with(b"/")));
        assert!(settings.modules.iter().all(|module| module.to_bytes().starts_with(b"/")));
        assert!(settings.mounts.iter().all(|mount| mount.entry.target.to_bytes().starts_with(b"/")));
        assert!((4..=86_400).contains(&settings.watchdog_seconds));
    }
}

/// What hides the host's words leaves none, adds nothing, and has nothing to do the second time.
fn hidden(text: &[u8]) {
    let mut own = Own::new();
    own.hide_boot = Some(true);
    let line = cmdline(text, &own);
    assert!(line.len() <= text.len() + 1 && line.ends_with(b"\n"));
    assert_eq!(cmdline(&line, &own), line);
    assert!(!line.starts_with(b"androidboot."));
    let config = bootconfig(text, &own);
    assert!(config.len() <= text.len());
    assert_eq!(bootconfig(&config, &own), config);
    assert!(config.split(|byte| *byte == b'\n').all(|line| !line.starts_with(b"androidboot.")));
}

fuzz_target!(|text: &[u8]| {
    settings(text);
    hidden(text);
    let mut found = Found::default();
    for record in text.split(|byte| *byte == 0) {
        found.take(record);
    }
    assert!(!found.critical || !found.lines.is_empty());
});
