//! `monopod.wakelock`: the machine is kept from suspending while the guest starts.
//!
//! The kernel keeps wakelocks by name and for ever. One that a killed supervisor left behind is taken over by the next.

use crate::cgroup::limit::write_file;
use crate::logging::log;
use core::ffi::CStr;
use nix::errno::Errno;

/// The wakelock, held or not.
#[derive(Default)]
pub struct Wakelock {
    held: bool,
    /// What is wrong was said.
    said: bool,
}

impl Wakelock {
    /// Holds it (true) or lets it go. What cannot be done is said once.
    #[inline(never)]
    pub fn hold(&mut self, name: Option<&CStr>, hold: bool) {
        let Some(name) = name.filter(|_| hold != self.held) else { return };
        let file = if hold { c"/sys/power/wake_lock" } else { c"/sys/power/wake_unlock" };
        self.held = hold;
        if let Err(errno) = write_file(file, name.to_bytes())
            && !core::mem::replace(&mut self.said, true)
        {
            match errno {
                Errno::ENOENT => log::info!("monopod.wakelock: this kernel has no wakelocks"),
                _ => log::warn!("monopod.wakelock: {}: {}", file.to_str().unwrap_or(""), errno.desc()),
            }
        }
    }
}
