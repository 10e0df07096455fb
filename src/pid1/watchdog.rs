//! The hardware watchdog (Documentation/watchdog/watchdog-api.rst): what is not petted in time resets the machine.

use super::console::say;
use super::settings::{Settings, WatchdogMode};
use crate::sys::fds::open;
use crate::sys::machine::set_watchdog_timeout;
use crate::text::shown;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};

/// An armed watchdog.
pub struct Watchdog {
    device: OwnedFd,
    interval_ms: u64,
    pet_at_ms: u64,
    content: bool,
}

/// How long supervisors may be silent: half of the hardware's time, so that the reset comes at most one and a half of it
/// after a loop has stopped.
pub fn silence_ms(settings: &Settings<'_>) -> u64 {
    u64::from(settings.watchdog_seconds) * 1_000 / 2
}

/// Arms it, if the settings say so.
pub fn arm(settings: &Settings<'_>) -> Result<Option<Watchdog>, crate::error::Error> {
    if settings.watchdog == WatchdogMode::Off {
        return Ok(None);
    }
    let path = settings.watchdog_device;
    let device = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| crate::error::Error::os("watchdog", errno, format_args!("open {}", shown(path))))?;
    // A device with but one time keeps that; it is petted often enough for the usual 30 or 60 seconds anyway.
    let seconds = set_watchdog_timeout(device.as_fd(), settings.watchdog_seconds).unwrap_or(settings.watchdog_seconds);
    say(format_args!("watchdog: armed, {seconds} s"));
    Ok(Some(Watchdog { device, interval_ms: u64::from(seconds.max(3)) * 1_000 / 3, pet_at_ms: 0, content: true }))
}

impl Watchdog {
    /// Pets it when it is time, unless something is wrong. When the next time is.
    pub fn pet(&mut self, now_ms: u64, well_until_ms: u64) -> Option<u64> {
        if now_ms < self.pet_at_ms {
            return Some(self.pet_at_ms);
        }
        self.pet_at_ms = now_ms + self.interval_ms;
        let well = now_ms < well_until_ms;
        if well {
            let _ = nix::unistd::write(&self.device, b"\0");
        } else if self.content {
            say(format_args!("watchdog: a container does not answer, the machine will be reset"));
        }
        self.content = well;
        Some(self.pet_at_ms)
    }

    /// Disarms it: the letter V, then close. A driver built or loaded with "nowayout" goes on.
    pub fn disarm(self) {
        if nix::unistd::write(&self.device, b"V").is_err() {
            say(format_args!("watchdog: does not take the magic letter, it stays armed"));
        }
    }
}
