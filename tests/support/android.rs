//! Guests whose init is the fake one of Android (tests/init/android/).

use super::{DEADLINE, Guest, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The versions that the tests know: Android 5.1, 9, 11 and 14.
pub const SDKS: [u32; 4] = [22, 28, 30, 34];

/// What `lxc.*` an unpatched Android wants: a /dev of its own, nothing on /sys, the host's network.
pub const STOCK: &str = "
    lxc.autodev = 0
    lxc.mount.entry = tmpfs dev tmpfs nosuid 0 0
    lxc.mount.entry = /dev/null dev/null none bind,create=file 0 0
    lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
    lxc.mount.entry = sys sys sysfs nodev,noexec,nosuid 0 0
";

/// A guest of this version, its root directory made for the fake init, which `options` are for (one a line).
pub fn guest(label: &str, sdk: u32, options: &str) -> Guest {
    prepare(Guest::new(label), sdk, options)
}

/// Makes a guest's root directory one of this version of Android.
pub fn prepare(guest: Guest, sdk: u32, options: &str) -> Guest {
    let rootfs = guest.rootfs();
    let folders = "acct apex data debug_ramdisk linkerconfig metadata second_stage_resources sys/fs/cgroup system/bin";
    for folder in folders.split(' ') {
        fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    let prop = format!("# begin build properties\nro.build.id=FAKE\nro.build.version.sdk={sdk}\nro.debuggable=1\n");
    fs::write(rootfs.join("system/build.prop"), prop).unwrap();
    if sdk >= 29 {
        fs::hard_link(rootfs.join("init"), rootfs.join("system/bin/init")).unwrap();
    }
    let options: Vec<&str> = options.lines().map(str::trim).collect();
    fs::write(rootfs.join("android.conf"), format!("sdk {sdk}\n{}\n", options.join("\n"))).unwrap();
    guest
}

/// Gives a guest's sandbox a root directory that the tests may change: the machine's under a layer of its own, with a /dev
/// of its own.
pub fn machine(guest: &Guest) {
    guest.sandbox.sh("
        mkdir -p /run/root /run/changes/upper /run/changes/work
        mount -t overlay -o lowerdir=/,upperdir=/run/changes/upper,workdir=/run/changes/work overlay /run/root
        for dir in proc sys run tmp; do mount --rbind /$dir /run/root/$dir; done
        mount -t tmpfs -o mode=755 dev /run/root/dev
        cd /run/root/dev
        mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
        mkdir pts shm
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts pts
        ln -s pts/ptmx ptmx
        mount --move /run/root /
    ");
}

/// How init must be started for its second stage, as config lines; the first one does it all up to Android 5.
pub fn second_stage(sdk: u32) -> &'static str {
    match sdk {
        ..=22 => "lxc.init.cmd = /init",
        23..=28 => {
            "lxc.init.cmd = /init\nlxc.environment = INIT_SECOND_STAGE=true\nlxc.environment = INIT_STARTED_AT=0"
        }
        _ => "lxc.init.cmd = /init second_stage\nlxc.environment = INIT_STARTED_AT=0",
    }
}

impl Guest {
    /// Lets the fake init go on where its option `hold STEP` made it wait.
    pub fn go(&self, step: &str) {
        fs::write(self.rootfs().join(format!("go-{step}")), "").unwrap();
    }

    /// How often the fake init has said this.
    pub fn said(&self, line: &str) -> usize {
        self.results().lines().filter(|each| *each == line).count()
    }

    /// Waits until it has said this so many times.
    pub fn wait_said_times(&self, line: &str, times: usize) {
        let said = wait_for(DEADLINE, || self.said(line) >= times);
        assert!(said, "the guest did not say {line:?} {times} times:\n{}\n{}", self.results(), self.logs());
    }

    /// Asks an Android of this version to end, by its own property.
    pub fn power(&self, sdk: u32, value: &str) {
        match sdk {
            26.. => assert!(self.set_property("sys.powerctl", value), "{}", self.logs()),
            _ => self.set_property_the_old_way("sys.powerctl", value),
        }
    }

    /// Sets a property from outside, as tools do that are no part of the guest; true: the service took it.
    pub fn set_property(&self, name: &str, value: &str) -> bool {
        let mut message = 0x0002_0001_u32.to_ne_bytes().to_vec();
        for text in [name, value] {
            message.extend((text.len() as u32).to_ne_bytes());
            message.extend(text.as_bytes());
        }
        let mut answer = [1; 4];
        let mut socket = self.property_socket();
        socket.write_all(&message).is_ok() && socket.read_exact(&mut answer).is_ok() && answer == [0; 4]
    }

    /// The same with the message of Android 4 to 7.
    pub fn set_property_the_old_way(&self, name: &str, value: &str) {
        let mut message = [1u32.to_ne_bytes().as_slice(), &[0; 32 + 92]].concat();
        message[4..][..name.len()].copy_from_slice(name.as_bytes());
        message[36..][..value.len()].copy_from_slice(value.as_bytes());
        let mut socket = self.property_socket();
        socket.write_all(&message).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }

    fn property_socket(&self) -> UnixStream {
        let path = format!("/proc/{}/root/dev/socket/property_service", self.init());
        UnixStream::connect(Path::new(&path)).unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.logs()))
    }
}
