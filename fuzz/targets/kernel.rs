//! Any bytes as the file and the kernel command line of the machine's init.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::limits;
use monopod::pid1::settings::Settings;
use monopod::text::Arena;

fuzz_target!(|text: &[u8]| {
    let mut storage = vec![0u8; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let _ = Settings::default().take_file(text, &arena);
    let _ = Settings::default().take_command_line(text, &arena);
});
