//! Any bytes as a property area, which is the guest's memory. The first byte says how long the name is that is looked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::android::{devices, properties, reasons};
use monopod::config::readiness;
use monopod::rootfs::overlay::Layers;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else { return };
    let Some((name, area)) = rest.split_at_checked(usize::from(*length)) else { return };
    let word = |at: usize| Some(u32::from_ne_bytes(area.get(at..)?.first_chunk().copied()?));
    let _ = properties::read(&word, name);
    let _ = reasons::property(area, name);
    let _ = reasons::wish(name);
    let _ = reasons::clean(name);
    let _ = readiness::conditions(name).count();
    let _ = devices::parse(name);
    let _ = Layers::read(name).map(|layers| layers.all().count());
});
