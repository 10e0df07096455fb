//! `explain`: the planned start, step by step, with none of it done. What is printed comes from the functions that the start itself
//! decides with; the order is `start`'s, `spawn`'s and `rootfs`'s.

use super::prepass::Operands;
use super::{Call, FAILED, Outcome, Target, Word, fail, parse, print, with_config, word};
use crate::cgroup::host::hierarchies_for;
use crate::config::own::Danger;
use crate::config::{AutoProc, AutoSys, Config, ConsolePath, HookKind, RestartWhen, get, values};
use crate::error::Error;
use crate::limits;
use crate::prepare::{lock, reboot_probe};
use crate::rootfs::{self, Source, dev};
use crate::spawn::namespaces;
use crate::start::{init_words, refuse_not_built};
use crate::text::{Arena, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt::{self, Write};

/// Prints what a start would do on this host, step by step, without doing any of it. COMMAND takes the place of the config's init.
/// Exit code: 1 if the start would be refused.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::NameThenCommand, " [-- COMMAND...]")?;
    let target = line.target()?;
    let defines: Vec<&[u8]> = line.args.define.iter().map(|define| define.to_bytes()).collect();
    let mut steps = Steps { text: String::new(), number: 0 };
    let mut refused = None;
    let command = &line.operands;
    let read = with_config(&target, &defines, &mut |config, arena| {
        let resolved = crate::rootfs::label::resolve(config, arena);
        refused = resolved.and_then(|()| explain(config, &target, command, &mut steps)).err();
    });
    print(&steps.text);
    match read.err().or(refused) {
        None => Ok(0),
        Some(error) => {
            fail(call.program, format_args!("the start would be refused here: {error}"));
            Err(FAILED)
        }
    }
}

/// Numbered lines, and lines below them.
struct Steps {
    text: String,
    number: u32,
}

impl Steps {
    fn step(&mut self, what: fmt::Arguments<'_>) {
        self.number += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:>3}. {what}", self.number);
    }

    fn detail(&mut self, what: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "     {what}");
    }

    /// A step that the config leaves out.
    fn skipped(&mut self, what: &str, why: &str) {
        let _ = writeln!(self.text, "  -  {what}: {why}");
    }
}

/// The value of a key in today's vocabulary, one line.
fn value(config: &Config<'_>, key: &str) -> String {
    let mut text = String::new();
    let _ = get(config, key.as_bytes(), &mut text);
    text.trim_ascii().replace('\n', " ")
}

fn explain(config: &Config<'_>, target: &Target<'_>, command: &[&CStr], steps: &mut Steps) -> Result<(), Error> {
    let files: Vec<String> = config.files.iter().map(|file| shown(file).to_string()).collect();
    steps.step(format_args!("read the config: {}", if files.is_empty() { "none".into() } else { files.join(", ") }));
    refuse_not_built(config)?;
    let words = init_words(config, command)?;
    prepare(config, target, steps)?;
    hooks(config, HookKind::PreStart, "on the host, before anything is made", steps);
    let mut storage = vec![0; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let hierarchies = hierarchies_for(config, &arena)?;
    if hierarchies.is_empty() {
        steps.skipped("cgroups", "this host has no hierarchy mounted");
    } else {
        steps.step(format_args!("make the container's cgroups, and set their limits"));
    }
    for hierarchy in hierarchies.iter() {
        let what = if hierarchy.v2 { c"v2" } else { hierarchy.controllers };
        let (mountpoint, base) = (shown(hierarchy.mountpoint), shown(hierarchy.base));
        steps.detail(format_args!("{mountpoint}{base}/{} ({})", shown(config.groups.container), shown(what)));
    }
    crate::cgroup::limit::check(config, &hierarchies)?;
    for setting in &config.cgroup {
        let version = if setting.v2 { "2" } else { "" };
        steps.detail(format_args!("lxc.cgroup{version}.{} = {}", shown(setting.file), shown(setting.value)));
    }
    let plan = namespaces::plan(config)?;
    let flags: Vec<String> =
        values::namespace_names(plan.clone).map(|name| format!("CLONE_NEW{}", flag(name))).collect();
    steps.step(format_args!("clone the container's process: {}", flags.join(" | ")));
    for share in &config.isolation.share {
        let kind = values::namespace_names(share.namespace).next().unwrap_or_default();
        steps.detail(format_args!("in the {kind} namespace of {}", shown(share.of)));
    }
    match plan.cgroup {
        true => steps.step(format_args!("inside: join the cgroups, then a cgroup namespace (CLONE_NEWCGROUP)")),
        false => steps.step(format_args!("inside: join the cgroups; the host's cgroup namespace is kept")),
    }
    if !plan.has_net() {
        steps.skipped("network namespace", "the host's is kept, or somebody else's shared");
    }
    for sysctl in &config.sysctls {
        steps.detail(format_args!("/proc/sys: {} = {}", shown(sysctl.name), shown(sysctl.value)));
    }
    filesystem(config, steps)?;
    if let Some(uts) = config.uts_name {
        steps.step(format_args!("inside: sethostname {}", shown(uts.value)));
    }
    steps.step(format_args!("from outside: device lists, /proc/PID files, the start-host hooks"));
    for file in &config.procs {
        steps.detail(format_args!("/proc/PID/{} = {}", shown(file.name), shown(file.value)));
    }
    hooks(config, HookKind::StartHost, "on the host", steps);
    confine(config, steps);
    hooks(config, HookKind::Start, "inside", steps);
    program(config, &words, steps);
    after(config, steps);
    Ok(())
}

/// `mnt` is NS in the flag's name, `net` NET, ...
fn flag(name: &str) -> String {
    if name == "mnt" { "NS".to_owned() } else { name.to_ascii_uppercase() }
}

/// Where the lock would be is where what is no directory would be mounted.
fn source<'t>(config: &Config<'t>) -> Result<Source<'t>, Error> {
    rootfs::source(config, lock::RUN.first().copied().unwrap_or(c"/run"))
}

fn prepare(config: &Config<'_>, target: &Target<'_>, steps: &mut Steps) -> Result<(), Error> {
    let (name, lxcpath) = (shown(config.name), shown(config.lxcpath));
    steps
        .step(format_args!("take the lock <run>/monopod/{name}/lock, and clean up after a supervisor that was killed"));
    if target.container().init_pid().is_ok() {
        steps.detail(format_args!("it is taken: {name} runs already, and the start would end here with exit code 0"));
    }
    let source = source(config)?;
    match config.rootfs.path {
        None => steps.skipped("rootfs", "none named: the container shares the host's files"),
        Some(_) => steps.detail(format_args!("the rootfs is there: {} ({})", shown(source.path), source.kind.name())),
    }
    steps.step(format_args!(
        "bind the command socket @{lxcpath}/{name}/command; block all signals, read them by a signalfd"
    ));
    let console = match config.console.path {
        ConsolePath::None => "none".to_owned(),
        ConsolePath::Auto => "our terminal, if the start is in the foreground on one".to_owned(),
        ConsolePath::Stdio => "our standard input and output".to_owned(),
        ConsolePath::Path(path) => shown(path).to_string(),
    };
    steps.step(format_args!("open the host's side of the console: {console}"));
    if let Some(log) = config.console.logfile {
        steps.detail(format_args!("kept in {}", shown(log.value)));
    }
    if config.console.buffer_size > 0 {
        steps.detail(format_args!("its last {} bytes kept in memory", config.console.buffer_size));
    }
    Ok(())
}

fn hooks(config: &Config<'_>, kind: HookKind, where_: &str, steps: &mut Steps) {
    if config.hooks(kind).next().is_none() {
        return;
    }
    steps.step(format_args!("{} hooks, {where_}, each within {} ms", kind.name(), config.timeouts.hook_ms));
    for hook in config.hooks(kind) {
        steps.detail(format_args!("{} ({})", shown(hook.command), config.place(hook.at)));
    }
}

/// `rootfs::build`, in its order.
fn filesystem(config: &Config<'_>, steps: &mut Steps) -> Result<(), Error> {
    steps.step(format_args!("inside: make all mounts slaves, so that nothing goes back to the host"));
    hooks(config, HookKind::PreMount, "inside, before the rootfs", steps);
    let Some(path) = config.rootfs.path else { return Ok(()) };
    let options = config.rootfs.options_text.map(|options| format!(", options {}", shown(options))).unwrap_or_default();
    let Source { mountpoint, .. } = source(config)?;
    steps.step(format_args!("mount the rootfs {} on {}{options}", shown(path.value), shown(mountpoint)));
    if config.autodev {
        steps.step(format_args!("mount tmpfs on /dev (size={})", config.autodev_size));
    } else {
        steps.skipped("tmpfs on /dev", "lxc.autodev = 0: the rootfs's own is used");
    }
    let auto = value(config, "lxc.mount.auto");
    if config.mount_auto.proc != AutoProc::No
        || config.mount_auto.sys != AutoSys::No
        || config.mount_auto.cgroup.is_some()
    {
        steps.step(format_args!("mount what lxc.mount.auto names: {auto} (cgroup after the entries)"));
    } else {
        steps.skipped("/proc and /sys", "lxc.mount.auto names none: init mounts them itself");
    }
    if !config.mounts.is_empty() {
        steps.step(format_args!("mount the entries, in this order"));
    }
    for mount in &config.mounts {
        steps.detail(format_args!("{} ({})", shown(mount.text), config.place(mount.at)));
    }
    hooks(config, HookKind::Mount, "inside, before pivot_root", steps);
    if config.autodev {
        hooks(config, HookKind::Autodev, "inside, before pivot_root", steps);
        let nodes: Vec<&str> = dev::node_names().filter_map(|name| name.to_str().ok()).collect();
        steps.step(format_args!("make the nodes of /dev: {}", nodes.join(" ")));
    }
    match config.pty_max {
        0 => steps.skipped("devpts", "lxc.pty.max = 0"),
        most => steps.step(format_args!("mount a devpts of its own, {} ptys", most.saturating_add(config.tty_max))),
    }
    if config.console.path != ConsolePath::None || config.tty_max > 0 {
        let directory = config.tty_dir.map(|directory| format!("/{}", shown(directory))).unwrap_or_default();
        let console = if config.console.path == ConsolePath::None { "" } else { "/dev/console and " };
        steps.step(format_args!("open {console}{} ttys, bound in /dev{directory}", config.tty_max));
    }
    steps.step(format_args!("pivot_root into it, and unmount the host's tree"));
    Ok(())
}

/// What `spawn::child` takes away before init.
fn confine(config: &Config<'_>, steps: &mut Steps) {
    for limit in &config.prlimits {
        let end = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
        let name = values::resource_name(limit.resource);
        steps.step(format_args!("limit {name}: {} (soft), {} (hard)", end(limit.soft), end(limit.hard)));
    }
    if let Some(arch) = config.arch {
        steps.step(format_args!("personality of {}", shown(arch)));
    }
    if config.own.protects() {
        let kept: Vec<&str> =
            Danger::NAMES.into_iter().filter(|(_, danger)| config.own.forbids(*danger)).map(|(name, _)| name).collect();
        steps.step(format_args!("protect the host: {}", kept.join(" ")));
    }
    let isolation = &config.isolation;
    if isolation.sched_core == Some(true) {
        steps.step(format_args!("a core scheduling group of its own"));
    }
    for (key, label) in [("profile", isolation.apparmor), ("context", isolation.selinux)] {
        if let Some(label) = label {
            steps.step(format_args!("{key} at its exec: {}", shown(label.value)));
        }
    }
    if isolation.keyring_session != Some(false) {
        steps.step(format_args!("a session keyring of its own"));
    }
    if config.own.protects() || config.own.hears_reboots() || config.own.hides_keyrings() {
        steps.step(format_args!("a seccomp filter for reboots, mounts and keyrings, as far as this kernel has it"));
    }
    let unsafe_reboot = reboot_probe::must_drop_sys_boot();
    let drop = crate::spawn::child::dropped(config, unsafe_reboot);
    let mut names = String::new();
    let _ = values::capabilities(drop, &mut |name| write!(names, " {name}"));
    match names.as_str() {
        "" => steps.skipped("capabilities", "all are kept"),
        names => steps.step(format_args!("drop the capabilities{names}")),
    }
    if unsafe_reboot {
        steps.detail(format_args!("sys_boot, because this kernel would take a reboot inside for one of the host"));
    }
    if config.no_new_privs {
        steps.step(format_args!("no_new_privs"));
    }
    if let Some(policy) = config.isolation.seccomp {
        steps.step(format_args!("the seccomp policy of {}", shown(policy.value)));
    }
}

fn program(config: &Config<'_>, words: &[&CStr], steps: &mut Steps) {
    let init = &config.init;
    let directory = init.cwd.map(|directory| format!(" in {}", shown(directory))).unwrap_or_default();
    steps.step(format_args!("a session of its own; become uid {} and gid {}{directory}", init.uid, init.gid));
    let command: Vec<String> = words.iter().map(|word| shown(word).to_string()).collect();
    steps.step(format_args!("execute {}", command.join(" ")));
    let mut environment = vec!["container=lxc".to_owned()];
    if config.tty_max > 0 {
        environment.push("container_ttys=...".to_owned());
    }
    environment
        .extend(config.environment.iter().chain(&config.environment_runtime).map(|word| shown(word).to_string()));
    steps.detail(format_args!("with the environment {}", environment.join(" ")));
    steps.detail(format_args!(
        "all of this within {} ms (monopod.timeout.start), or it is taken down",
        config.timeouts.start_ms
    ));
}

/// What follows once it runs.
fn after(config: &Config<'_>, steps: &mut Steps) {
    let Signals { halt, reboot, stop } = Signals::of(config);
    steps.step(format_args!(
        "supervise: a stop sends {halt} and kills after {} ms; a reboot sends {reboot}, a kill {stop}",
        config.timeouts.stop_ms
    ));
    if let Some(command) = config.own.stop_command {
        steps.detail(format_args!("then, inside: {} ({})", shown(command.value), config.place(command.at)));
    }
    if let Some(conditions) = config.own.readiness() {
        steps.step(format_args!("it is ready when this holds: {}", shown(conditions)));
        let failed = value(config, "monopod.ready.failed");
        steps.detail(format_args!("not within {} ms: {failed}", config.own.ready_ms));
    }
    for rule in &config.own.reboots {
        let action = value(config, &format!("monopod.reboot.{}", shown(rule.argument)));
        steps.step(format_args!("a reboot with the argument {}: {action}", shown(rule.argument)));
    }
    let restart = config.restart_policy();
    let when = match restart.when {
        RestartWhen::Never => "never: its end is ours",
        RestartWhen::Reboot => "when it reboots",
        RestartWhen::Failure => "when it reboots or fails",
        RestartWhen::Always => "always",
    };
    steps.step(format_args!("start again {when}"));
    if restart.when != RestartWhen::Never {
        let budget =
            if restart.budget() == 0 { "without a limit".to_owned() } else { format!("at most {}", restart.budget()) };
        steps.detail(format_args!(
            "lives under {} ms wait {} ms and longer, up to {} ms, {budget} in {} ms",
            restart.uptime_ms(),
            restart.delay_ms,
            restart.cap_ms,
            restart.window_ms
        ));
    }
    hooks(config, HookKind::Stop, "at the end, with the container's namespaces", steps);
    steps.step(format_args!("at the end: kill what is left, remove the cgroups"));
    hooks(config, HookKind::PostStop, "on the host; one that fails turns a restart into a stop", steps);
}

/// The names of the configured signals.
struct Signals {
    halt: String,
    reboot: String,
    stop: String,
}

impl Signals {
    fn of(config: &Config<'_>) -> Signals {
        let name = |signal: i32| {
            let known = nix::sys::signal::Signal::try_from(signal);
            known.map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
        };
        let signals = config.signals;
        let unset = if signals.halt_set { "" } else { " (SIGRTMIN+3 if init blocks that)" };
        Signals { halt: name(signals.halt) + unset, reboot: name(signals.reboot), stop: name(signals.stop) }
    }
}
