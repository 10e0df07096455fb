//! monopod boots one container, Android's or any other Linux userspace, from an LXC config and supervises it.
//!
//! The start sequence, and where to find each step:
//!
//! 1. `cli` reads the command line (also under the names of the lxc tools), `start` is the sequence as one screen.
//! 2. `config` reads the LXC config: one table of keys, both vocabularies. It makes no system call but reading files.
//! 3. `prepare` puts the host side in order: inherited descriptors, daemon, lock, command socket, signals, console.
//! 4. `hooks` runs pre-start hooks; `cgroup` makes `lxc/NAME` in every hierarchy and applies limits.
//! 5. `spawn` forks, by the best way that the kernel has (`spawn/birth`), into namespaces of its own and of others
//!    (`spawn/shares`). `spawn/child` is the child's half, one step a line; `spawn/newborn` what the supervisor does for it while
//!    it waits: `net` makes its links, `idmap` gives it ids and mounts what it may not; `spawn/barrier` is the protocol between
//!    the halves.
//! 6. `rootfs` is what the child does to the filesystem, up to pivot_root; then it takes its label (`lsm`) and its policy, which
//!    `seccomp` has compiled before, and executes init.
//! 7. `supervise` is the epoll loop until init has ended; `lifecycle` and `outcome` decide, purely, what that means.
//! 8. `teardown` cleans up; then the next life begins at 4, or the program ends, or `host_reboot` ends the machine.
//!
//! Before all of it, where there is no other init: `pid1` mounts, starts a supervisor process for each container, reaps.
//!
//! `android` is what only Android guests need, `guard` keeps a guest from hurting the host, `ready` says when it is ready,
//! `aside` looks where it may keep one waiting, `ephemeral` removes it at its end.
//! Beside the sequence: `control` is LXC's command socket, `attach` runs a command inside, `execute` is the init of a container
//! for one command, `terminal` a user's end of a pty, `check` looks before a start; `logging` is the log, `state` LXC's states,
//! `sys` all unsafe code, `files`, `mountinfo`, `text`, `limits` and `error` what everything stands
//! on.

pub mod android;
pub mod aside;
#[cfg(feature = "tools")]
pub mod attach;
pub mod cgroup;
#[cfg(feature = "tools")]
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod ephemeral;
pub mod error;
#[cfg(feature = "tools")]
pub mod execute;
pub mod files;
pub mod guard;
pub mod hooks;
pub mod host_reboot;
#[cfg(feature = "idmap")]
pub mod idmap;
pub mod limits;
pub mod logging;
pub mod lsm;
pub mod mountinfo;
#[cfg(feature = "net")]
pub mod net;
pub mod pid1;
pub mod prepare;
pub mod ready;
pub mod rootfs;
#[cfg(feature = "seccomp")]
pub mod seccomp;
pub mod spawn;
pub mod start;
pub mod state;
pub mod supervise;
pub mod sys;
pub mod teardown;
#[cfg(feature = "tools")]
pub mod terminal;
pub mod text;

pub use logging::complain;
pub use start::FAILED;

/// Runs the program: `args` is the whole command line, the program's name first. Its exit code.
pub fn run(args: &[&core::ffi::CStr]) -> i32 {
    if sys::process::runs_with_more_rights_than_its_caller() {
        // It trusts its command line, its environment and the paths in them.
        complain(format_args!("this program must not be made setuid or setgid"));
        return FAILED;
    }
    cli::run(args)
}

/// From here on, through every restart, neither supervisor nor child allocates. The audit build proves it.
fn arm() {
    #[cfg(feature = "alloc-audit")]
    sys::audit::arm();
}
