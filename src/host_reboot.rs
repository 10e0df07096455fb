//! The end of the machine, because a container's end asks for it: `host-reboot` and `host-reboot-arg`.
//!
//! Under our own process 1 that is told, and takes the machine down in its order. Elsewhere the host's own program does it:
//! `monopod.host.reboot`, else reboot(8), Linux's or Android's; and only where there is none, reboot(2).

use crate::config::{DEFAULT, Hook, HookKind};
use crate::error::{Error, Result};
use crate::hooks::{self, Moment};
use crate::logging::log;
use crate::prepare::host::Host;
use crate::prepare::notify;
use crate::sys::{machine, process};
use crate::text::PathText;
use nix::unistd::{AccessFlags, access};

/// Reboots the machine, by others or at once, with `argument` unless it is empty. All of the container is gone.
#[inline(never)] // its frame would live as long as the container
pub fn run(host: &mut Host<'_>, argument: &[u8]) -> Result<()> {
    if notify::is_process_1() {
        log::info!("host reboot: left to process 1");
        return Ok(());
    }
    let programs = [c"/sbin/reboot", c"/system/bin/reboot"];
    let found = programs.into_iter().find(|path| access(*path, AccessFlags::X_OK).is_ok());
    if let Some(command) = host.config.own.host_reboot.or(found) {
        log::warn!("host reboot: by {}", crate::text::shown(command));
        let hook = Hook { kind: HookKind::HostReboot, command, at: DEFAULT };
        return hooks::run_one(host, &hook, &Moment { argument, ..Moment::default() });
    }
    log::warn!("host reboot: by reboot(2), as there is no reboot(8)");
    nix::unistd::sync();
    let done = match PathText::join(&[argument]) {
        Ok(argument) if !argument.c().is_empty() => machine::reboot_with(argument.c()),
        _ => process::reboot(libc::RB_AUTOBOOT),
    };
    done.map_err(|errno| Error::os("host reboot", errno, format_args!("reboot")))
}
