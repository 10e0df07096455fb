//! LXC's seccomp policies (`lxc.seccomp.*`), compiled to classic BPF without libseccomp.
//!
//! * `policy` reads the file, `table` knows the calls' names, `machine` what is particular about each machine.
//! * `compile` makes the program, `assemble` writes it. All of these are pure.
//!
//! `proxy` takes calls that are handed over (`notify`) to who decides about them.
//!
//! The program is made once, before the first start, and loaded by the child of each life (`load`) where LXC has it.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files;
use crate::limits;
use crate::logging::log;
use crate::sys::fds::open;
use crate::sys::seccomp::{self, Instruction};
use crate::text::{Shown, shown};
use core::ffi::CStr;
use core::fmt;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use policy::{LOG, Policy};

mod assemble;
pub mod compile;
#[cfg(test)]
mod interpreter;
pub mod machine;
pub mod policy;
pub mod proxy;
#[allow(missing_docs)] // facts
pub mod table;

const STEP: &str = "seccomp";

/// The program for `lxc.seccomp.profile`; empty: there is nothing to be loaded. What is said about the policy names its file and
/// line.
#[inline(never)] // runs once
pub fn prepare(config: &Config<'_>) -> Result<Vec<Instruction>> {
    let Some(profile) = config.isolation.seccomp else { return Ok(Vec::new()) };
    let mut unknown = |line, name: &[u8]| {
        let (path, name) = (shown(profile.value), Shown(name));
        log::warn!("{path}:{line}: {name} is no system call that is known here, and has no rule");
    };
    let program = program(profile.value, format_args!("{}: ", config.place(profile.at)), &mut unknown)?;
    let nested = config.isolation.seccomp_nesting == Some(true);
    match seccomp::is_confined() {
        Ok(true) if !nested => {
            log::warn!(
                "a seccomp policy is in force here, {} is not loaded (lxc.seccomp.allow_nesting)",
                shown(profile.value)
            );
            return Ok(Vec::new());
        }
        Ok(_) => {}
        Err(errno) => {
            let what = format_args!("{}: this kernel has no seccomp filters", config.place(profile.at));
            return Err(Error::os(STEP, errno, what));
        }
    }
    if seccomp::hands_over(&program) {
        proxy::check(config, profile)?;
    }
    Ok(program)
}

/// Reads and compiles a policy; `place` is who names it, `unknown` is told of calls that no machine has.
pub fn program(
    path: &CStr,
    place: fmt::Arguments<'_>,
    unknown: &mut dyn FnMut(u32, &[u8]),
) -> Result<Vec<Instruction>> {
    let failed = |errno| Error::os(STEP, errno, format_args!("{place}{}", shown(path)));
    let text = read(path).map_err(failed)?;
    let wrong = |what: fmt::Arguments<'_>| Error::new(STEP, format_args!("{place}{}{what}", shown(path)));
    let policy = Policy::parse(&text, unknown).map_err(|fault| wrong(format_args!(":{}: {fault}", fault.line)))?;
    if policy.has(LOG) && !seccomp::has_answer(LOG) {
        return Err(wrong(format_args!(": log needs Linux 4.14")));
    }
    compile::compile(&policy, machine::own()).map_err(|_| wrong(format_args!(": more than the kernel takes")))
}

fn read(path: &CStr) -> nix::Result<Vec<u8>> {
    // A FIFO in its place must not hold us up.
    let file = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())?;
    if SFlag::from_bits_truncate(fstat(&file)?.st_mode & libc::S_IFMT) == SFlag::S_IFIFO {
        return Err(Errno::ESPIPE);
    }
    // Rules that are left out would be allowed.
    let text = files::rest(&file, 0, limits::CONFIG_FILE_BYTES + 1)?;
    if text.len() as u64 > limits::CONFIG_FILE_BYTES { Err(Errno::EFBIG) } else { Ok(text) }
}
