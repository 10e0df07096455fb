//! What is said of a start before it is done, and where: the kernel's log, Android's log, the score when memory is short.

use crate::support::{Guest, skip, wait_until};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

/// The kernel's log from now on.
struct Kmsg(fs::File);

impl Kmsg {
    fn open(test: &str) -> Option<Kmsg> {
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        match options.open("/dev/kmsg").and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file)) {
            Ok(file) => Some(Kmsg(file)),
            Err(error) => {
                skip(test, &format!("/dev/kmsg: {error}"), true);
                None
            }
        }
    }

    /// The steps of a container so far, in order.
    fn steps(&mut self, name: &str) -> Vec<String> {
        let mark = format!("monopod[{name}]: step: ");
        let (mut steps, mut record) = (Vec::new(), [0; 8192]);
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]).into_owned();
                    steps.extend(
                        text.split_once(&mark).map(|(_, step)| step.lines().next().unwrap_or("").trim().to_owned()),
                    );
                }
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return steps,
            }
        }
    }
}

#[test]
fn trace_names_every_step_before_it_is_done() {
    let Some(mut kmsg) = Kmsg::open("trace_names_every_step_before_it_is_done") else { return };
    let guest = Guest::new("traced").config(
        "monopod.trace = 1\nlxc.autodev = 1\nlxc.mount.auto = proc sys\nlxc.hook.pre-start = /bin/true
        lxc.mount.entry = tmpfs tmp tmpfs create=dir 0 0\nmonopod.protect = 1",
    );
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let steps = kmsg.steps(guest.name());
    let expected = [
        "hook on the host /bin/true",
        "make the cgroups",
        "clone",
        "join the cgroups",
        "mount the rootfs",
        "mount a tmpfs on /dev",
        "mount proc",
        "mount sys",
        "mount entry tmpfs tmp",
        "make the device nodes",
        "pivot_root",
        "protect the host",
        "seccomp filter",
        "drop capabilities",
        "become init's user, execute /init",
    ];
    let mut rest = steps.iter();
    for step in expected {
        assert!(rest.any(|seen| seen.starts_with(step)), "{step}: {steps:#?}");
    }
}

#[test]
fn trace_ends_with_the_hook_that_hangs() {
    let Some(mut kmsg) = Kmsg::open("trace_ends_with_the_hook_that_hangs") else { return };
    let guest = Guest::new("hangs").config("monopod.trace = 1\nlxc.hook.mount = /bin/sleep 1000 #");
    let running = guest.start("exit 0");
    let mut steps = Vec::new();
    wait_until("the hook is named", || {
        steps.extend(kmsg.steps(guest.name()));
        steps.last().is_some_and(|step| step == "hook in the container /bin/sleep 1000 #")
    });
    running.signal(libc::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(kmsg.steps(guest.name()), Vec::<String>::new());
}

#[test]
fn trace_off_says_nothing() {
    let Some(mut kmsg) = Kmsg::open("trace_off_says_nothing") else { return };
    let guest = Guest::new("untraced");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(kmsg.steps(guest.name()), Vec::<String>::new());
}

#[test]
fn oom_score_is_the_supervisors_and_not_inits() {
    let guest =
        Guest::new("score").config("monopod.oom.score = 321\nlxc.hook.start-host = cat /proc/self/oom_score_adj #");
    let before = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let running = guest.start("forever");
    guest.wait_running();
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(guest.init()), before);
    assert_eq!(score(running.pid()), "321\n");
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    let ended = running.wait();
    assert!(guest.file("log").contains(&format!("hook start-host: {}", before.trim())), "{ended}");
}

#[test]
fn logd_hears_what_a_start_says() {
    let guest = Guest::new("logd").config("monopod.log.logd = 1");
    let directory = guest.dir().join("socket");
    fs::create_dir(&directory).unwrap();
    let logd = UnixDatagram::bind(directory.join("logdw")).unwrap();
    logd.set_nonblocking(true).unwrap();
    // A /dev of the test's own: a directory made in the real one would be everybody's.
    let dev = guest.dir().join("dev");
    fs::create_dir(&dev).unwrap();
    guest.sandbox.sh(&format!(
        "cd {dev}; mount -t tmpfs dev .; cd {dev}; cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty .
        mkdir socket pts; mount --bind {sockets} socket; mount --rbind /dev/pts pts; ln -s pts/ptmx ptmx; mount --rbind . /dev",
        dev = dev.display(),
        sockets = directory.display()
    ));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut message = [0; 2048];
    let length = logd.recv(&mut message).unwrap_or_else(|error| panic!("nothing heard: {error}{ended}"));
    let (header, text) = message[..length].split_at(11);
    assert_eq!(header[0], 0);
    assert!(text[1..].starts_with(b"monopod\0") && text.ends_with(b"\0"), "{text:?}");
}
