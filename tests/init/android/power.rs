//! Shutdown and reboot: sys.powerctl, what is left for the next boot to read, sysrq, the end by reboot(2) or by exit.

use super::Init;
use super::properties::Properties;
use super::services::Services;
use crate::{done, forever, outcome, say};
use std::ffi::CString;
use std::fs;

const SYS_BOOT: u32 = 22;
/// Where Android 11 and later keep why they last went down.
const BOOTSTAT: &str = "/metadata/bootstat";

impl Init {
    /// Whether CAP_SYS_BOOT is effective: by this alone Android tells a container from a machine.
    pub fn reboot_capable(&self) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
        u64::from_str_radix(mask.trim(), 16).unwrap_or(0) >> SYS_BOOT & 1 == 1
    }

    /// `sys.powerctl` was set; comes back only from a value that makes no sense.
    pub fn powerctl(&self, value: &str, properties: &mut Properties, services: &mut Services) {
        let (verb, target) = value.split_once(',').unwrap_or((value, ""));
        if !["shutdown", "reboot"].contains(&verb) {
            self.log(&format!("powerctl: unrecognized command '{value}'"));
            return say(&format!("powerctl {value}: unrecognized"));
        }
        say(&format!("powerctl {value}"));
        self.log(&format!("Received sys.powerctl='{value}'"));
        self.leave_reason(value, target, properties);
        services.stop();
        say("services stopped");
        self.press_sysrq(&self.options.sysrq);
        self.reboot((verb == "reboot").then_some(target))
    }

    fn leave_reason(&self, value: &str, target: &str, properties: &mut Properties) {
        if self.options.sdk >= 28 {
            properties.set("persist.sys.boot.reason", value);
            let _ = fs::create_dir_all("/data/property");
            let _ = fs::write("/data/property/persistent_properties", record("persist.sys.boot.reason", value));
        }
        if self.options.sdk >= 30 && fs::create_dir_all(BOOTSTAT).is_ok() {
            let _ = fs::write(format!("{BOOTSTAT}/persist.sys.boot.reason"), value);
        }
        let command = match target {
            "recovery" => "boot-recovery",
            "fastboot" => "boot-fastboot",
            "bootloader" => "bootonce-bootloader",
            _ => return,
        };
        if let Some(misc) = &self.options.misc {
            // struct bootloader_message: the command is its first 32 bytes.
            let mut block = [0; 2048];
            block[..command.len()].copy_from_slice(command.as_bytes());
            let written = fs::OpenOptions::new().write(true).create(true).truncate(false).open(misc);
            let _ = written.and_then(|mut file| std::io::Write::write_all(&mut file, &block));
        }
    }

    /// Writes each letter to /proc/sysrq-trigger.
    pub fn press_sysrq(&self, letters: &str) {
        for letter in letters.chars() {
            say(&format!("sysrq {letter}: {}", outcome(crate::write("/proc/sysrq-trigger", &letter.to_string()))));
        }
    }

    /// The last act of process 1: a restart with a target, or a power-off.
    pub fn reboot(&self, target: Option<&str>) -> ! {
        if self.options.sdk >= 27 && !self.reboot_capable() {
            say("exit instead of reboot");
            std::process::exit(0);
        }
        say(&target.map_or_else(|| "poweroff".into(), |target| format!("reboot {target}")));
        let argument = CString::new(target.unwrap_or_default()).unwrap();
        let command = match target {
            Some(_) => libc::LINUX_REBOOT_CMD_RESTART2,
            None => libc::LINUX_REBOOT_CMD_POWER_OFF,
        };
        let (one, two) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
        // SAFETY: the numbers are the kernel's, the text ends with a NUL.
        let result = unsafe { libc::syscall(libc::SYS_reboot, one, two, command, argument.as_ptr()) };
        let result = done(nix::errno::Errno::result(result));
        if result.is_err() {
            say(&format!("reboot(2): {}", outcome(result)));
        }
        // The kernel kills pid 1 on its own time; where it may not reboot, an old init sits here for ever.
        forever();
        std::process::exit(99)
    }
}

/// A record of the protobuf that Android keeps its persistent properties in: field 1 { 1: name, 2: value }.
fn record(name: &str, value: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}
