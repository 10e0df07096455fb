//! The init of `execute`: runs one command, reaps whatever else ends, passes signals on, and ends as the command ended.
//!
//! It is our own binary, executed in the container from memory under the name that LXC gives it: nothing of it need be in the
//! rootfs.

use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{pty, signals, stack};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigmaskHow, sigprocmask};

/// The name that it is executed by.
pub const NAME: &CStr = c"init.lxc";
/// How long the others have between SIGTERM and the end, in milliseconds.
const FAREWELL_MS: u64 = 1_000;

/// Runs the command behind `init.lxc --`; its exit code, 128 + n if signal n killed it, 127 if it is not there and 126 if it
/// cannot be run.
pub fn init(argv: &[&CStr], environment: &[&CStr]) -> i32 {
    let command = argv.get(2..).unwrap_or_default();
    let _ = nix::sys::prctl::set_name(NAME);
    let first = nix::unistd::getpid().as_raw() == 1;
    if first && !std::path::Path::new("/proc/self").exists() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
        // A rootfs without the directory has no /proc then, as it would have without us.
        let _ = mount(Some(c"proc"), c"/proc", Some(c"proc"), flags, None::<&CStr>);
    }
    // What comes until there is somebody to pass it on to waits.
    if sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals::all()), None).is_err() {
        return 1;
    }
    let child = match fork() {
        Ok(Fork::Child) => become_command(command, environment),
        Ok(Fork::Parent(pid)) => pid,
        Err(_) => return 1,
    };
    signals::pass_on_to(child);
    let _ = signals::unblock_all();
    stack::trim();
    stack::give_code_back();
    let code = attend(child);
    signals::pass_on_to(0);
    if first {
        farewell();
    }
    code
}

fn become_command(command: &[&CStr], environment: &[&CStr]) -> ! {
    let _ = nix::unistd::setsid();
    let _ = pty::set_controlling(crate::sys::fds::standard(0), false);
    signals::reset_ignored(u64::MAX);
    let _ = signals::unblock_all();
    let path = environment.iter().find_map(|word| word.to_bytes().strip_prefix(b"PATH="));
    let errno = process::exec_in_path(path.unwrap_or(process::PATH), command, environment);
    let name = command.first().map_or("", |name| name.to_str().unwrap_or("?"));
    let message = format!("execute: {name}: {}\n", errno.desc());
    let _ = nix::unistd::write(crate::sys::fds::standard(2), message.as_bytes());
    process::exit_now(if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) { 127 } else { 126 })
}

/// Reaps until `child` has ended. It waits in the one call that reaps: with a descriptor of signals each orphan cost three.
fn attend(child: i32) -> i32 {
    loop {
        match process::wait_any() {
            Ok((pid, Exit::Code(code))) if pid == child => return code,
            Ok((pid, Exit::Signal(signal))) if pid == child => return 128 + signal,
            Ok(_) => {}
            Err(_) => return 1,
        }
    }
}

/// Our end is everybody's: who is left may end by itself first.
fn farewell() {
    let _ = process::kill(-1, libc::SIGTERM);
    let until = crate::prepare::host::now_ms() + FAREWELL_MS;
    while process::has_children() && crate::prepare::host::now_ms() < until {
        while let Ok(Some(_)) = process::reap_any() {}
        std::thread::sleep(core::time::Duration::from_millis(10));
    }
}
