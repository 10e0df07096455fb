//! `/android.conf`: which of the inits it is, and what goes wrong. One option a line, its value after a blank.

use std::fs;

/// What the file says.
#[derive(Clone, Default)]
pub struct Options {
    /// `sdk N`: 22 is 5.1, 28 is 9, 30 is 11, 34 is 14.
    pub sdk: u32,
    /// `flavor stock | halium | redroid`: with what patches for a container.
    flavor: String,
    /// `no-selinux`: the first stage gets by without a selinuxfs.
    pub no_selinux: bool,
    /// `hold STEP`: waits there for a file `/go-STEP`. Steps: socket, coldboot, completed.
    hold: Vec<String>,
    /// `never STEP`: leaves it out.
    never: Vec<String>,
    /// `critical NAME`: a critical service of this name ends at once, again and again.
    pub critical: Option<String>,
    /// `stubborn N`: services that ignore SIGTERM.
    pub stubborn: u32,
    /// `orphans N`: processes that lose their parent.
    pub orphans: u32,
    /// `powerctl VALUE`: what the guest does to itself when it has booted; with `powerctl-times N`, so often.
    pub powerctl: Option<String>,
    /// `powerctl-times N`
    pub powerctl_times: Option<u32>,
    /// `sysrq LETTERS`: what the shutdown writes to /proc/sysrq-trigger. Only `h`, help, is harmless.
    pub sysrq: String,
    /// `early-sysrq LETTERS`: the same as soon as it has a proc of its own.
    pub early_sysrq: String,
    /// `chmod-cmdline`: as the real ones do; on many kernels it changes the file of the whole machine.
    pub chmod_cmdline: bool,
    /// `cgroups host`: goes on where a hierarchy shows the machine's root; `cgroups none`: mounts none.
    pub cgroups: String,
    /// `misc PATH`: the partition with the bootloader control block.
    pub misc: Option<String>,
    /// `kmsg`: speaks to the kernel's log, which has but one for the whole machine.
    pub kmsg: bool,
    /// `own-proc`: a second stage mounts a proc of its own first, as the first would.
    pub own_proc: bool,
}

impl Options {
    /// Of the file, if there is one.
    pub fn read(path: &str) -> Option<Options> {
        let text = fs::read_to_string(path).ok()?;
        let mut options = Options { sdk: 30, flavor: "stock".into(), sysrq: "h".into(), ..Options::default() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            options.set(name, value);
        }
        Some(options)
    }

    fn set(&mut self, name: &str, value: &str) {
        let number = || crate::number(value);
        match name {
            "sdk" => self.sdk = number(),
            "flavor" => self.flavor = value.into(),
            "no-selinux" => self.no_selinux = true,
            "hold" => self.hold.push(value.into()),
            "never" => self.never.push(value.into()),
            "critical" => self.critical = Some(value.into()),
            "stubborn" => self.stubborn = number(),
            "orphans" => self.orphans = number(),
            "powerctl" => self.powerctl = Some(value.into()),
            "powerctl-times" => self.powerctl_times = Some(number()),
            "sysrq" => self.sysrq = value.into(),
            "early-sysrq" => self.early_sysrq = value.into(),
            "chmod-cmdline" => self.chmod_cmdline = true,
            "cgroups" => self.cgroups = value.into(),
            "misc" => self.misc = Some(value.into()),
            "kmsg" => self.kmsg = true,
            "own-proc" => self.own_proc = true,
            _ => {
                crate::say(&format!("no such option: {name}"));
                std::process::exit(99)
            }
        }
    }

    /// Patched for a container on a Linux host: it mounts nothing that its config should.
    pub fn halium(&self) -> bool {
        self.flavor == "halium"
    }

    /// Patched to take its boot arguments from its command line and to go on where a mount fails.
    pub fn redroid(&self) -> bool {
        self.flavor == "redroid"
    }

    /// Waits where a test wants it to.
    pub fn hold(&self, step: &str) {
        if self.hold.iter().any(|each| each == step) {
            crate::say(&format!("holds {step}"));
            while !std::path::Path::new(&format!("/go-{step}")).exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    /// Whether a step is done at all.
    pub fn does(&self, step: &str) -> bool {
        self.never.iter().all(|each| each != step)
    }
}
