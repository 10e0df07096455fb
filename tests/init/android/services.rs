//! What init starts: processes that sleep, one at the console, stubborn ones, orphans, and one that crashes.

use super::Init;
use crate::say;
use std::time::{Duration, Instant};

/// How often a critical service may end before the boot is complete.
const CRITICAL: u32 = 4;

/// The services that run.
#[derive(Default)]
pub struct Services {
    pids: Vec<i32>,
}

impl Services {
    /// Starts one that sleeps; a stubborn one ignores SIGTERM.
    pub fn start(&mut self, stubborn: bool) -> i32 {
        let pid = child(|| {
            let action = if stubborn { libc::SIG_IGN } else { libc::SIG_DFL };
            // SAFETY: sets a signal's action to one that is no function.
            unsafe { libc::signal(libc::SIGTERM, action) };
            sleep_for_ever()
        });
        self.pids.push(pid);
        pid
    }

    /// One at /dev/console, in a session of its own whose terminal that is to be.
    pub fn start_console(&mut self) {
        self.pids.push(child(|| {
            let _ = nix::unistd::setsid();
            let console = std::fs::OpenOptions::new().read(true).write(true).open("/dev/console");
            if let Ok(mut console) = console {
                use std::io::Write;
                use std::os::fd::AsRawFd;
                // SAFETY: an ioctl without memory.
                let owned = unsafe { libc::ioctl(console.as_raw_fd(), libc::TIOCSCTTY, 0) } == 0;
                let _ = writeln!(console, "console: {}", if owned { "job control" } else { "no job control" });
            }
            sleep_for_ever()
        }));
    }

    /// SIGTERM to all, some time, SIGKILL to who is left, and all of them reaped.
    pub fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_millis(100);
        while self.reap() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.signal(libc::SIGKILL);
        // Who was orphaned is reaped by the end of the namespace.
        while !self.pids.is_empty() && self.reap() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn signal(&self, signal: i32) {
        for pid in &self.pids {
            // SAFETY: kill touches no memory.
            unsafe { libc::kill(*pid, signal) };
        }
    }

    /// Reaps who has ended; whether there are children left.
    pub fn reap(&mut self) -> bool {
        loop {
            // SAFETY: the status is not wanted.
            match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
                0 => return true,
                -1 => return false,
                pid => self.pids.retain(|each| *each != pid),
            }
        }
    }
}

impl Init {
    /// A critical service that ends again and again, and what init makes of it.
    pub fn critical(&self, name: &str) -> ! {
        for _ in 0..CRITICAL {
            let pid = child(|| 1);
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        }
        let when = if self.options.sdk >= 29 { "before boot completed" } else { "in 4 minutes" };
        let line = format!("critical process '{name}' exited {CRITICAL} times {when}");
        if self.options.sdk <= 22 {
            self.log(&format!("{line}; rebooting into recovery mode"));
            say(&format!("fatal: {line}"));
            self.reboot(Some("recovery"))
        }
        self.fatal(&line)
    }
}

/// `count` processes whose parent has ended.
pub fn orphans(count: u32) {
    if count > 0 {
        let parent = child(|| {
            for _ in 0..count {
                child(sleep_for_ever);
            }
            0
        });
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(parent), None);
        say(&format!("orphans {count}"));
    }
}

/// A process that does this, with no signal blocked, and ends with what it gives.
pub fn child(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        0 => {
            nix::sys::signal::SigSet::empty().thread_set_mask().unwrap();
            let code = run();
            // SAFETY: ends the process; nothing of it is to be cleaned up.
            unsafe { libc::_exit(code) }
        }
        pid => pid,
    }
}

fn sleep_for_ever() -> i32 {
    loop {
        nix::unistd::pause();
    }
}
