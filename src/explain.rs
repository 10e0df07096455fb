//! `explain`: the start of a container as numbered steps, with what each would do on this host. Nothing of it is done.
//!
//! The decisions are asked of the rooms that make them in a start; only the order is written down a second time, and
//! `tests/explain.rs` holds it against a start.

use crate::cgroup::find::Hierarchies;
use crate::cgroup::limit;
use crate::config::{
    Alive, AutoProc, AutoSys, Config, ConsolePath, Create, HookKind, MountEntry, NicType, RestartWhen, keys, values,
};
use crate::control::proto;
use crate::error::Result;
use crate::prepare::lock;
use crate::rootfs::{self, Source, beneath, dev, entries};
use crate::spawn::{child, namespaces};
use crate::start;
use crate::text::{Arena, Shown, shown};
use core::ffi::CStr;
use core::fmt::{self, Write};
use nix::unistd::{AccessFlags, access};

/// The text in the making.
struct Steps {
    text: String,
    number: u32,
}

impl Steps {
    /// A numbered step.
    #[inline(never)]
    fn step(&mut self, name: &str, what: fmt::Arguments<'_>) {
        self.number += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:2}. {name}: {what}", self.number);
    }

    /// A line that belongs to the last step.
    #[inline(never)]
    fn more(&mut self, what: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "      {what}");
    }

    /// A step that is a list; what to say of an empty one.
    fn list<T>(&mut self, name: &str, head: &str, empty: &str, items: &[T], show: &dyn Fn(&T) -> String) {
        self.step(name, format_args!("{}", if items.is_empty() { empty } else { head }));
        for item in items {
            self.more(format_args!("{}", show(item)));
        }
    }

    fn hooks(&mut self, config: &Config<'_>, kind: HookKind, where_: &str) {
        let name = kind.name().trim_start_matches("LXC_HOOK_TYPE=");
        if config.hooks(kind).next().is_none() {
            return self.step(name, format_args!("no hooks"));
        }
        self.step(name, format_args!("hooks, {where_}, {} ms each at most", config.timeouts.hook_ms));
        for hook in config.hooks(kind) {
            self.more(format_args!("{} ({})", shown(hook.command), config.place(hook.at)));
        }
    }
}

/// Explains a start; `command` takes the place of the config's init. The text so far, and why a start would be refused at
/// that point.
pub fn explain<'t>(config: &Config<'t>, command: &[&CStr], arena: &Arena<'t>) -> (String, Result<()>) {
    let mut steps = Steps { text: String::new(), number: 0 };
    let result = all(&mut steps, config, command, arena);
    (steps.text, result)
}

fn all<'t>(steps: &mut Steps, config: &Config<'t>, command: &[&CStr], arena: &Arena<'t>) -> Result<()> {
    steps.list("config", "read", "no file, everything as by default", &config.files, &|file| shown(file).to_string());
    let argv = start::init_command(config, command, arena)?;
    start::refuse_not_built(config)?;
    let none = "none";
    let log = config.log.file.map_or(none.to_string(), |file| shown(file).to_string());
    steps.step("log", format_args!("file {log}, level {}", config.log.level.map_or("by default", values::level_name)));
    let state = lock::planned(config.name);
    let state = state.as_ref().map_or(c"?", |path| path.c());
    steps.step("lock", format_args!("{}/lock", shown(state)));
    let source = rootfs::source(config, state)?;
    let plan = namespaces::plan(config)?;
    let hierarchies = start::find_hierarchies(arena)?;
    let address = proto::address(config.lxcpath.to_bytes(), config.name.to_bytes());
    steps.step("command socket", format_args!("@{}", Shown(&address)));
    console(steps, config);
    steps.hooks(config, HookKind::PreStart, "on the host");
    groups(steps, config, &hierarchies)?;
    clone(steps, &plan, hierarchies.iter().any(|one| one.v2));
    steps.list("sysctls", "through the host's /proc/sys, in the new namespaces", "none", &config.sysctls, &|one| {
        format!("{} = {}", shown(one.name), shown(one.value))
    });
    steps.step("slaves", format_args!("every mount of the host becomes a slave here"));
    steps.hooks(config, HookKind::PreMount, "in the new mount namespace");
    match config.rootfs.path {
        None => steps.step("rootfs", format_args!("none: the host's files, in mounts of its own")),
        Some(_) => files(steps, config, &source, &plan, &hierarchies),
    }
    identity(steps, config, &plan);
    steps.hooks(config, HookKind::StartHost, "on the host");
    rights(steps, config);
    steps.hooks(config, HookKind::Start, "in the container");
    let init = &config.init;
    let mut groups = String::new();
    for group in &init.groups {
        let _ = write!(groups, " {group}");
    }
    let groups = if groups.is_empty() { " none" } else { &groups };
    let directory = shown(init.cwd.unwrap_or(c"/"));
    steps.step("user", format_args!("uid {} gid {} groups{groups}, in {directory}", init.uid, init.gid));
    let environment = start::init_environment(config, arena)?;
    steps.list("environment", "nothing but", none, &environment, &|word| keys::raw(word).to_string());
    let mut line = String::new();
    for word in &argv {
        let _ = write!(line, " {:?}", keys::raw(word).to_string());
    }
    steps.step("exec", format_args!("{}", line.trim_ascii_start()));
    afterwards(steps, config);
    Ok(())
}

fn console(steps: &mut Steps, config: &Config<'_>) {
    match config.console.path {
        ConsolePath::None => steps.step("console", format_args!("none")),
        ConsolePath::Auto => steps.step("console", format_args!("our terminal, if there is one in the foreground")),
        ConsolePath::Stdio => steps.step("console", format_args!("our stdin and stdout")),
        ConsolePath::Path(path) => steps.step("console", format_args!("{}", shown(path))),
    }
    if let Some(file) = config.console.logfile {
        steps.more(format_args!(
            "kept in {}, at most {} bytes (0: no limit)",
            shown(file.value),
            config.console.log_size
        ));
    }
    if config.console.buffer_size > 0 {
        steps.more(format_args!("the last {} bytes in memory", config.console.buffer_size));
    }
}

fn groups(steps: &mut Steps, config: &Config<'_>, hierarchies: &Hierarchies<'_>) -> Result<()> {
    let name = shown(config.name);
    steps.list("cgroups", "made", "no hierarchy is mounted", hierarchies, &|one| {
        let place = shown(one.mountpoint);
        match access(one.mountpoint, AccessFlags::W_OK) {
            Ok(()) => format!("{place}/lxc/{name}"),
            Err(errno) => format!("{place}: left out: {}", errno.desc()),
        }
    });
    limit::check(config, hierarchies)?;
    steps.list("limits", "written", "none", &config.cgroup, &|one| {
        let version = if one.v2 { "2" } else { "" };
        let (file, value) = (shown(one.file), shown(one.value));
        let home = limit::home(one, hierarchies);
        match home {
            None => format!("lxc.cgroup{version}.{file}: skipped, said for the other version as well"),
            Some(_) if one.v2 && limit::controller(one) == b"devices" => format!("{file} = {value}, in a BPF program"),
            Some(home) => format!("{}/lxc/{name}/{file} = {value}", shown(home.mountpoint)),
        }
    });
    Ok(())
}

/// As clone(2) names them.
const CLONE: [(u64, &str); 5] = [
    (libc::CLONE_NEWNS as u64, "CLONE_NEWNS"),
    (libc::CLONE_NEWPID as u64, "CLONE_NEWPID"),
    (libc::CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
    (libc::CLONE_NEWIPC as u64, "CLONE_NEWIPC"),
    (libc::CLONE_NEWNET as u64, "CLONE_NEWNET"),
];

fn clone(steps: &mut Steps, plan: &namespaces::Plan, v2: bool) {
    let mut flags = String::new();
    for (flag, name) in CLONE {
        if plan.clone & flag != 0 {
            flags.push(' ');
            flags.push_str(name);
        }
    }
    let into = if v2 { " CLONE_INTO_CGROUP" } else { "" };
    steps.step("clone", format_args!("{}{into}", flags.trim_ascii_start()));
    steps.more(format_args!("the child dies with the supervisor"));
    steps.step(
        "cgroup namespace",
        format_args!(
            "{}",
            if plan.cgroup { "CLONE_NEWCGROUP, once it is in its groups" } else { "the host's is kept" }
        ),
    );
}

fn files(
    steps: &mut Steps,
    config: &Config<'_>,
    source: &Source<'_>,
    plan: &namespaces::Plan,
    hierarchies: &Hierarchies<'_>,
) {
    let (path, root) = (shown(source.path), shown(source.mountpoint));
    let options = config.rootfs.options_text.map_or(String::new(), |options| format!(" {}", shown(options)));
    let how = if source.device { "a filesystem" } else { "rbind" };
    steps.step("rootfs", format_args!("{path} on {root} {how}{options}"));
    match config.autodev {
        true => steps.step("autodev", format_args!("tmpfs on {root}/dev size={},mode=755", config.autodev_size)),
        false => steps.step("autodev", format_args!("off: the rootfs's own /dev")),
    }
    let auto = config.mount_auto.to_string();
    steps.step("auto", format_args!("{}", if auto.is_empty() { "nothing (lxc.mount.auto)" } else { &auto }));
    if config.mount_auto.proc != AutoProc::No {
        steps.more(format_args!("proc on {root}/proc proc nosuid,nodev,noexec"));
    }
    if config.mount_auto.sys != AutoSys::No {
        steps.more(format_args!("sysfs on {root}/sys sysfs nosuid,nodev,noexec"));
    }
    steps.list("mounts", "in this order", "none", &config.mounts, &|entry| mount(config, source, entry));
    let cgroup = match config.mount_auto.cgroup {
        None => "none",
        Some(_) if hierarchies.is_empty() => "skipped: this host has none",
        Some(form) if rootfs::auto::is_left_to_guest(config, hierarchies, plan.cgroup, form) => {
            "skipped: left to the guest, which can do it in its namespace"
        }
        Some(_) => "on /sys/fs/cgroup",
    };
    steps.step("cgroup mounts", format_args!("{cgroup}"));
    steps.hooks(config, HookKind::Mount, "in the new mount namespace");
    if config.autodev {
        steps.hooks(config, HookKind::Autodev, "in the new mount namespace");
        let mut names = String::new();
        for (name, ..) in dev::NODES {
            let _ = write!(names, " /dev/{}", shown(name));
        }
        steps.step("nodes", format_args!("{}", names.trim_ascii_start()));
    }
    match config.pty_max {
        0 => steps.step("devpts", format_args!("off: lxc.pty.max is 0")),
        max => steps.step("devpts", format_args!("on {root}/dev/pts max={}", max.saturating_add(config.tty_max))),
    }
    let directory = config.tty_dir.map_or(String::new(), |directory| format!("{}/", shown(directory)));
    match config.tty_max {
        0 => steps.step("ttys", format_args!("none")),
        max => steps.step("ttys", format_args!("/dev/{directory}tty1 to tty{max}")),
    }
    steps.step("pivot_root", format_args!("into {root}; the host's mounts are gone"));
}

fn mount(config: &Config<'_>, source: &Source<'_>, entry: &MountEntry<'_>) -> String {
    let target = entries::inside(source, entry.target.to_bytes());
    // The fourth field as it was written is the flags by name.
    let options = entry.text.to_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(3);
    let inside = if entry.relative { format!("{}/", shown(source.mountpoint)) } else { String::new() };
    let make = match entry.create {
        Create::No => "",
        Create::Dir => ", directory made",
        Create::File => ", file made",
    };
    format!(
        "{inside}{} on {}/{} {} {}{make} ({})",
        shown(entry.source),
        shown(source.mountpoint),
        Shown(beneath::trim(target)),
        shown(entry.fstype),
        Shown(options.unwrap_or(b"defaults")),
        config.place(entry.at)
    )
}

fn identity(steps: &mut Steps, config: &Config<'_>, plan: &namespaces::Plan) {
    match config.uts_name {
        Some(name) if plan.has_uts() => steps.step("host name", format_args!("{}", shown(name.value))),
        Some(_) => steps.step("host name", format_args!("skipped: the host's namespace is kept")),
        None => steps.step("host name", format_args!("none is set")),
    }
    let shared = config.nics.iter().any(|nic| nic.kind == NicType::None);
    steps.step(
        "network",
        match (plan.has_net(), shared) {
            (true, _) => format_args!("lo up, nothing else"),
            (false, true) => format_args!("the host's (a link of type none)"),
            (false, false) => format_args!("the host's (lxc.namespace)"),
        },
    );
}

fn rights(steps: &mut Steps, config: &Config<'_>) {
    steps.list("resource limits", "soft and hard", "as ours", &config.prlimits, &|one| {
        format!("{} {} {}", values::resource_name(one.resource), values::Limit(one.soft), values::Limit(one.hard))
    });
    match config.arch {
        Some(arch) => steps.step("personality", format_args!("{}", shown(arch))),
        None => steps.step("personality", format_args!("as ours")),
    }
    // Before Linux 3.4 the kernel would have to be asked about reboot(2), by a process that tries.
    let last = std::fs::read("/proc/sys/kernel/cap_last_cap").ok();
    let last = last.and_then(|text| crate::text::number(text.trim_ascii())).unwrap_or(63).min(63);
    let mut names = String::new();
    let known = u64::MAX >> (63 - last);
    let _ = values::capabilities(child::dropped(config, false) & known, &mut |name| write!(names, " {name}"));
    steps.step("capabilities", format_args!("dropped:{}", if names.is_empty() { " none" } else { &names }));
    steps.step("no_new_privs", format_args!("{}", if config.no_new_privs { "set" } else { "not set" }));
}

fn afterwards(steps: &mut Steps, config: &Config<'_>) {
    let restart = config.restart;
    let when = match restart.when {
        RestartWhen::Reboot => "when it reboots",
        RestartWhen::Failure => "when it reboots or fails",
        RestartWhen::Always => "whenever it ends",
        RestartWhen::Never => "never",
    };
    steps.step("restart", format_args!("{when}"));
    if restart.when != RestartWhen::Never {
        let window = match restart.budget {
            0 => String::from("no limit of times"),
            times => format!("{times} times in {} ms", restart.window_ms),
        };
        steps.more(format_args!(
            "after a life of less than {} ms: in {} ms, then times {}, at most {} ms; {window}",
            restart.uptime_ms, restart.delay_ms, restart.factor, restart.cap_ms
        ));
    }
    let signals = config.signals;
    steps.step(
        "stop",
        format_args!("halt by signal {}, reboot by {}, kill by {}", signals.halt, signals.reboot, signals.stop),
    );
    let timeouts = config.timeouts;
    steps.more(format_args!(
        "wait {} ms for it; a start may take {} ms (0: for ever)",
        timeouts.stop_ms, timeouts.start_ms
    ));
    if let Alive::File(file) = config.alive {
        steps.more(format_args!("alive as long as {} changes", shown(file)));
    }
    steps.hooks(config, HookKind::Stop, "on the host, when init has ended");
    steps.step("clean up", format_args!("what is left is killed, the cgroups are removed"));
    steps.hooks(config, HookKind::PostStop, "on the host");
}
