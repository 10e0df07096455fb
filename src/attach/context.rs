//! What init is like, read from outside. Everything is by the host's /proc, which no guest can change.

use super::{Failed, Options, failed};
use crate::cgroup::find::path_in;
use crate::control::client::Failure;
use crate::limits;
use crate::logging::log;
use crate::lsm::{Kernel, Module};
use crate::state::State;
use crate::sys::process;
#[cfg(feature = "seccomp")]
use crate::sys::seccomp;
use crate::sys::seccomp::Instruction;
use crate::text::{Arena, PathText, number, shown};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, stat};
use nix::unistd::geteuid;
#[cfg(feature = "seccomp")]
use std::ffi::CString;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

/// A limit: the kernel's number of the resource, soft, hard.
pub type Limit = (u32, u64, u64);

/// What the program becomes like.
pub struct Context {
    /// The namespaces in which init is and we are not, in the order in which they are joined.
    pub namespaces: Vec<(CloneFlags, OwnedFd)>,
    /// `tasks` or `cgroup.procs` of init's cgroups.
    pub cgroups: Vec<OwnedFd>,
    /// init's bounding set.
    pub bounding: u64,
    /// init cannot gain privileges.
    pub no_new_privs: bool,
    /// init's personality.
    pub personality: Option<u64>,
    /// init's limits.
    pub limits: Vec<Limit>,
    /// init's label, if a security module has one for it that is no "unconfined".
    pub label: Option<(Module, String)>,
    /// The program of the container's seccomp policy; empty: it has none.
    pub policy: Vec<Instruction>,
    /// What the program's user is on the host, if init's user namespace is not ours.
    pub owner: Option<u32>,
}

/// The user namespace gives the right to join the others to who is not root; root joins it last, or it could join none that is
/// not the container's own. After the mount namespace no file of the host can be opened.
const NAMESPACES: [(&str, CloneFlags); 8] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("net", CloneFlags::CLONE_NEWNET),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    // nix has no name for CLONE_NEWTIME (Linux 5.6).
    ("time", CloneFlags::from_bits_retain(0x80)),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// The limits that the kernel has (RLIM_NLIMITS).
const LIMITS: u32 = 16;

/// Reads all of it.
pub fn read(options: &Options<'_>) -> Result<Context, Failed> {
    let no = |why: String| Failed { why, code: 1 };
    let name = shown(options.container.name);
    let state = options.container.state().map_err(|failure| no(failure.to_string()))?;
    if matches!(state, State::Frozen | State::Freezing) {
        return Err(no(format!("'{name}' is frozen, and whatever is started in it would be too: unfreeze it first")));
    }
    let init = match options.container.init_pid() {
        Ok(Some(init)) => init,
        Ok(None) | Err(Failure::NotRunning | Failure::Closed) => return Err(no(format!("'{name}' is not running"))),
        Err(failure) => return Err(no(failure.to_string())),
    };
    let status = std::fs::read_to_string(format!("/proc/{init}/status"));
    let status = status.map_err(|_| no(format!("'{name}' is not running: there is no process {init}")))?;
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim_ascii);
    let policy = policy(options)?;
    if policy.is_empty()
        && !options.elevated.label
        && field("Seccomp:") == Some("2")
        && std::fs::read_to_string("/proc/self/status").is_ok_and(|own| own.contains("Seccomp:\t0"))
    {
        log::warn!("init has a seccomp filter, which cannot be read from a process: the command runs without");
    }
    let bounding = field("CapBnd:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let context = Context {
        namespaces: namespaces(init, options)?,
        cgroups: if options.elevated.cgroup { Vec::new() } else { cgroups(init)? },
        bounding: bounding.ok_or_else(|| no(format!("/proc/{init}/status has no CapBnd")))?,
        no_new_privs: field("NoNewPrivs:") == Some("1"),
        personality: match options.personality {
            None => personality(init)?,
            given => given,
        },
        limits: limits_of(init)?,
        policy,
        owner: owner(init, options.uid.unwrap_or(0)),
        label: if options.elevated.label { None } else { label(init, options)? },
    };
    // Whoever has its pid now would have been looked at.
    match options.container.init_pid() {
        Ok(Some(same)) if same == init => Ok(context),
        _ => Err(no(format!("'{name}' ended meanwhile"))),
    }
}

/// What of a policy init was started under. As with LXC, who leaves out labels or the mount namespace does without.
#[cfg(feature = "seccomp")]
fn policy(options: &Options<'_>) -> Result<Vec<Instruction>, Failed> {
    let item = |key| match options.container.config_item(key) {
        Ok(value) => Ok(value.unwrap_or_default()),
        // It does not know the key.
        Err(Failure::Refused(_)) => Ok(Vec::new()),
        Err(failure) => Err(Failed { why: format!("ask for the seccomp policy: {failure}"), code: 1 }),
    };
    let mounts = options.namespaces.is_none_or(|wanted| wanted & libc::CLONE_NEWNS as u64 != 0);
    let path = CString::new(item(c"lxc.seccomp.profile")?).unwrap_or_default();
    if options.elevated.label || !mounts || path.is_empty() {
        return Ok(Vec::new());
    }
    match seccomp::is_confined() {
        Ok(false) => {}
        // EINVAL: the kernel has no policies.
        Ok(true) | Err(Errno::EINVAL) => {
            if item(c"lxc.seccomp.allow_nesting")? != b"1" {
                return Ok(Vec::new());
            }
        }
        Err(errno) => return Err(failed("look for a seccomp policy of our own")(errno)),
    }
    // The start has told them.
    let mut unknown = |_: u32, _: &[u8]| {};
    crate::seccomp::program(&path, format_args!(""), &mut unknown)
        .map_err(|error| Failed { why: error.to_string(), code: 1 })
}

#[cfg(not(feature = "seccomp"))]
fn policy(_: &Options<'_>) -> Result<Vec<Instruction>, Failed> {
    Ok(Vec::new())
}

fn namespaces(init: i32, options: &Options<'_>) -> Result<Vec<(CloneFlags, OwnedFd)>, Failed> {
    let mut found = Vec::new();
    for (name, flag) in NAMESPACES {
        let (own, theirs) = (format!("/proc/self/ns/{name}"), format!("/proc/{init}/ns/{name}"));
        let wanted = options.namespaces.is_none_or(|wanted| wanted & flag.bits() as u64 != 0);
        let own = match std::fs::read_link(own) {
            // This kernel does not have it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            own => own.map_err(unreadable("our namespaces"))?,
        };
        if wanted && own != std::fs::read_link(&theirs).map_err(unreadable("init's namespaces"))? {
            found.push((flag, open(&theirs, OFlag::O_RDONLY).map_err(failed("open init's namespaces"))?));
        }
    }
    if geteuid().is_root() && found.first().is_some_and(|(flag, _)| *flag == CloneFlags::CLONE_NEWUSER) {
        found.rotate_left(1);
    }
    Ok(found)
}

/// What a user of init's is on the host.
fn owner(init: i32, uid: u32) -> Option<u32> {
    let maps = std::fs::read_to_string(format!("/proc/{init}/uid_map")).ok()?;
    maps.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = uid.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset).filter(|owner| *owner != uid)
    })
}

/// The entrances of the cgroups in which init is. One that is not to be had is passed over only if it is not there at all.
fn cgroups(init: i32) -> Result<Vec<OwnedFd>, Failed> {
    let mut storage = vec![0; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let hierarchies =
        crate::cgroup::host::hierarchies(&arena).map_err(|error| Failed { why: error.to_string(), code: 1 })?;
    let read = |path: &str| match std::fs::read(path) {
        // This kernel has none.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(unreadable("cgroups")),
    };
    let table = read(&format!("/proc/{init}/cgroup"))?;
    let ours = read("/proc/self/cgroup")?;
    let mut found = Vec::new();
    for hierarchy in hierarchies.iter() {
        let group = |table: &'_ [u8]| -> Option<Vec<u8>> {
            table.split(|byte| *byte == b'\n').find_map(|line| path_in(line, hierarchy)).map(<[u8]>::to_vec)
        };
        let Some(path) = group(&table) else { continue };
        if group(&ours).as_ref() == Some(&path) {
            // We are there, though we might not be let in.
            continue;
        }
        let file: &[u8] = if hierarchy.v2 { b"/cgroup.procs" } else { b"/tasks" };
        let whole = PathText::join(&[hierarchy.mountpoint.to_bytes(), &path, file]);
        let whole: PathText = whole.map_err(|_| failed("cgroup")(Errno::ENAMETOOLONG))?;
        match crate::sys::fds::open(whole.c(), OFlag::O_WRONLY, Mode::empty()) {
            Ok(entrance) => found.push(entrance),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Failed { why: format!("open {}: {}", shown(whole.c()), errno.desc()), code: 1 }),
        }
    }
    Ok(found)
}

/// A fact of /proc. None: this kernel does not have it, or does not show it to who is not root.
fn fact(init: i32, name: &'static str) -> Result<Option<String>, Failed> {
    match std::fs::read_to_string(format!("/proc/{init}/{name}")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !geteuid().is_root() => Ok(None),
        Err(error) => Err(unreadable(name)(error)),
    }
}

fn unreadable(what: &str) -> impl Fn(std::io::Error) -> Failed + '_ {
    move |error| failed(what)(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Linux shows it in hexadecimal.
fn personality(init: i32) -> Result<Option<u64>, Failed> {
    Ok(fact(init, "personality")?.and_then(|text| u64::from_str_radix(text.trim_ascii(), 16).ok()))
}

fn limits_of(init: i32) -> Result<Vec<Limit>, Failed> {
    let mut limits = Vec::new();
    let owner = stat(format!("/proc/{init}").as_str()).map_err(failed("init's owner"))?.st_uid;
    for resource in 0..LIMITS {
        match process::limit_of(init, resource) {
            Ok((soft, hard)) => limits.push((resource, soft, hard)),
            // This kernel does not have it.
            Err(Errno::EINVAL) => {}
            // Without CAP_SYS_RESOURCE another user's are not shown, to root neither.
            Err(Errno::EPERM) if owner != geteuid().as_raw() => {}
            Err(errno) => return Err(failed("init's limits")(errno)),
        }
    }
    Ok(limits)
}

/// The label as the kernel takes it for the next exec.
fn label(init: i32, options: &Options<'_>) -> Result<Option<(Module, String)>, Failed> {
    if let Some(label) = options.label {
        return Ok(Some((Module::SeLinux, label.to_string_lossy().into_owned())));
    }
    let text = fact(init, "attr/current")?.unwrap_or_default();
    let text = text.trim_end_matches(['\0', '\n']);
    // AppArmor says the mode behind the name.
    let name = text.split(" (").next().unwrap_or(text);
    let none = name.is_empty() || name == "unconfined" || name.starts_with("kernel");
    let module = if Kernel::look(false).apparmor { Module::AppArmor } else { Module::SeLinux };
    Ok((!none).then(|| (module, name.to_owned())))
}

fn open(path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let path: PathText = PathText::format(format_args!("{path}")).map_err(|_| Errno::ENAMETOOLONG)?;
    crate::sys::fds::open(path.c(), flags, Mode::empty())
}

/// The numbers of a uid's line in the container's /etc/passwd: gid and shell. The file is the guest's.
pub fn passwd(text: &[u8], uid: u32) -> Option<&[u8]> {
    let fields = |line: &'_ [u8]| -> Option<u64> { number(line.split(|byte| *byte == b':').nth(2)?) };
    let line = text.split(|byte| *byte == b'\n').find(|line| fields(line) == Some(uid.into()))?;
    line.split(|byte| *byte == b':').nth(6).filter(|shell| shell.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_of_a_user_is_found_or_not() {
        let text = b"root:x:0:0:root:/root:/bin/ash\nbad:line\nu:x:1000:1000::/home/u:bash\n";
        assert_eq!(passwd(text, 0), Some(&b"/bin/ash"[..]));
        assert_eq!(passwd(text, 1000), None);
        assert_eq!(passwd(text, 7), None);
    }
}
