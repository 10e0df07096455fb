//! The second stage: from properties to a completed boot, then the loop.

use super::Init;
use super::properties::Properties;
use super::services::{Services, child, orphans};
use crate::{done, outcome, report, say};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

impl Init {
    /// All that follows the first stage.
    pub fn second_stage(&self) -> ! {
        say(&format!("stage second, sdk {}", self.options.sdk));
        say(&format!("argv {}", std::env::args().collect::<Vec<_>>().join(" ")));
        if self.options.own_proc {
            let result = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2,gid=3009"));
            say(&format!("mount proc /proc: {}", outcome(done(result))));
            self.press_sysrq(&self.options.early_sysrq);
        }
        let _ = fs::write("/dev/.booting", "");
        if (26..=29).contains(&self.options.sdk) && std::env::var_os("INIT_STARTED_AT").is_none() {
            self.segfault("no INIT_STARTED_AT");
        }
        let mut properties = match Properties::create(&self.options) {
            Ok(properties) => properties,
            Err(e) => self.segfault(&format!("property area: {}", outcome(Err(e)))),
        };
        self.boot_properties(&mut properties);
        self.make_mounts();
        let mut services = Services::default();
        self.mount_cgroups(&mut services);
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        let in_container = self.options.sdk >= 28 && !self.reboot_capable();
        if in_container {
            signals.add(Signal::SIGTERM);
        }
        signals.thread_block().unwrap();
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).unwrap();
        say(if in_container { "hears SIGTERM" } else { "hears no signal" });

        self.options.hold("socket");
        let listener = self.options.does("socket").then(|| self.open_property_service());
        self.coldboot(&mut properties);
        if let Some(name) = &self.options.critical {
            self.critical(name);
        }
        self.start_services(&mut properties, &mut services);
        self.options.hold("completed");
        if self.options.does("completed") {
            properties.set("sys.boot_completed", "1");
        }
        report::write("/report");
        say("booted");
        self.end_itself(&mut properties, &mut services);
        self.event_loop(listener, signals, &mut properties, &mut services)
    }

    /// What the boot loader has to say, by the kernel's command line, the boot config, or one's own command line.
    fn boot_properties(&self, properties: &mut Properties) {
        properties.set("ro.build.version.sdk", &self.options.sdk.to_string());
        let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let bootconfig = fs::read_to_string("/proc/bootconfig").unwrap_or_default();
        let words = if self.options.redroid() { self.words.join(" ") } else { String::new() };
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend(cmdline.split_whitespace().chain(words.split(' ')).filter_map(|word| word.split_once('=')));
        if self.options.sdk >= 31 {
            let pairs_of = bootconfig.lines().filter_map(|line| line.split_once('='));
            pairs.extend(pairs_of.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))));
        }
        for (name, value) in pairs {
            if let Some(name) = name.strip_prefix("androidboot.") {
                properties.set(&format!("ro.boot.{name}"), value);
            }
        }
        let hardware = properties.get("ro.boot.hardware").to_owned();
        properties.set("ro.hardware", if hardware.is_empty() { "unknown" } else { &hardware });
    }

    /// From Android 11 on: tmpfs on /apex and /linkerconfig, mount namespaces. What lies in /apex is of an earlier life.
    fn make_mounts(&self) {
        if self.options.sdk < 29 {
            return;
        }
        if fs::read_dir("/apex").is_ok_and(|entries| entries.count() > 0) {
            self.log("boringssl self test failed");
            say("stale apex");
            self.reboot(Some("boringssl-self-check-failed"));
        }
        let _ = umount2("/debug_ramdisk", MntFlags::MNT_DETACH);
        let private = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let tmpfs = |target: &str| {
            let result = done(mount(Some("tmpfs"), target, Some("tmpfs"), private, Some("mode=0755")));
            let ok = result.is_ok();
            say(&format!("mount tmpfs {target}: {}", outcome(result)));
            ok
        };
        if !self.options.halium() {
            tmpfs("/apex");
        }
        if self.options.sdk >= 30 && !tmpfs("/linkerconfig") {
            self.fatal("Failed to mount /linkerconfig");
        }
        if !self.options.halium() {
            let shared = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
            say(&format!("shared /: {}", outcome(done(shared))));
        }
        // apexd's work; where /apex is the host's, this stays there.
        let module = "/apex/com.android.runtime";
        let made = fs::create_dir_all(module);
        let bound = mount(Some("/dev"), module, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        say(&format!("apex {module}: {}", outcome(made.and_then(|()| done(bound)))));
    }

    /// ueventd: Halium's ends at once where its parent is not process 1.
    fn coldboot(&self, properties: &mut Properties) {
        self.options.hold("coldboot");
        if !self.options.does("coldboot") {
            return;
        }
        let by_property = self.options.sdk >= 30 && !self.options.halium();
        let pid = child(|| {
            if self.options.halium() && nix::unistd::getppid().as_raw() != 1 {
                return 1;
            }
            if by_property || fs::write("/dev/.coldboot_done", "").is_ok() { 0 } else { 1 }
        });
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        if by_property {
            properties.set("ro.cold_boot_done", "true");
        }
        say(&format!("coldboot: {status}"));
    }

    fn start_services(&self, properties: &mut Properties, services: &mut Services) {
        let _ = fs::remove_file("/dev/.booting");
        for name in ["servicemanager", "zygote"] {
            services.start(false);
            properties.set(&format!("init.svc.{name}"), "running");
        }
        services.start_console();
        for _ in 0..self.options.stubborn {
            services.start(true);
        }
        orphans(self.options.orphans);
        if self.options.sdk >= 29 {
            properties.set("apexd.status", "ready");
        }
    }

    /// What the guest was told to do to itself.
    fn end_itself(&self, properties: &mut Properties, services: &mut Services) {
        let Some(value) = &self.options.powerctl else { return };
        let mut end = || self.property_set("sys.powerctl", value, None, properties, services);
        match self.options.powerctl_times {
            Some(times) => crate::counted(times, end),
            None => end(),
        }
    }

    fn event_loop(
        &self,
        listener: Option<UnixListener>,
        signals: SignalFd,
        properties: &mut Properties,
        services: &mut Services,
    ) -> ! {
        loop {
            let mut ready = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            ready.extend(listener.as_ref().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
            let _ = poll(&mut ready, PollTimeout::NONE);
            let has = |i: usize| ready.get(i).and_then(PollFd::any).unwrap_or(false);
            let (signal, client) = (has(0), has(1));
            if signal && let Ok(Some(info)) = signals.read_signal() {
                match info.ssi_signo as i32 {
                    // From outside the pid namespace a sender has no number.
                    libc::SIGTERM if info.ssi_pid == 0 => self.powerctl("shutdown,container", properties, services),
                    libc::SIGTERM => say(&format!("ignores SIGTERM of {}", info.ssi_pid)),
                    _ => {
                        services.reap();
                    }
                }
            }
            if client && let Some(Ok((client, _))) = listener.as_ref().map(UnixListener::accept) {
                self.serve(client, properties, services);
            }
        }
    }
}
