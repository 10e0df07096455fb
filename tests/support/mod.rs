//! What every test begins with: a [`Guest`], a container of its own name in a [`Sandbox`] of its own.
//!
//! ```ignore
//! let guest = Guest::new("exit_code").config("lxc.uts.name = box");
//! let ended = guest.run("report , exit 7");           // steps of tests/init/main.rs
//! assert_eq!(ended.code, Some(7), "{ended}");
//! assert_eq!(guest.report().one("hostname"), "box");
//! guest.assert_nothing_left();
//! ```
//!
//! Environment: `MONOPOD_BIN` is the binary under test (default: cargo's). Set it to the path of LXC's own `lxc-start` to
//! see what LXC does in the same scenario. `MONOPOD_TESTINIT` is the guests' init, `MONOPOD_AUDIT_BIN` a binary built with
//! `--features alloc-audit`, `MONOPOD_PATIENCE` how many times longer than usual is waited. `MONOPOD_RUNNER` is what runs a binary of another machine (`qemu-arm-static`); the guests stay
//! this machine's. With `CI` set, a skip for something that can be installed is a failure.

pub mod android;
#[cfg(feature = "seccomp")]
pub mod injector;
pub mod kernel;
pub mod leaks;
pub mod races;
pub mod realtime;
pub mod report;
pub mod sandbox;
pub mod strace;

use kernel::Kernel;
pub use report::Report;
use sandbox::{Sandbox, kill};
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// No scenario takes this long unless something hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until `ready`; a wait of more than [`DEADLINE`] fails the test.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    assert!(wait_for(DEADLINE, &mut ready), "waited {} s for {what}", DEADLINE.as_secs());
}

/// Polls until `ready` or until `limit` has passed; true = ready.
pub fn wait_for(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit * patience();
    loop {
        if ready() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How much longer than usual everything may take: `MONOPOD_PATIENCE`, for a binary that is watched by a sanitizer.
pub fn patience() -> u32 {
    std::env::var("MONOPOD_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// A test that cannot run here says so where nobody can miss it, and fails where it should have been able to run.
pub fn skip(test: &str, reason: &str, installable: bool) {
    static SKIPPED: AtomicU32 = AtomicU32::new(0);
    let count = SKIPPED.fetch_add(1, Relaxed) + 1;
    // Not eprintln!, which the test harness swallows for a test that passes.
    let _ = std::io::stderr().write_all(format!("\nSKIPPED {test}: {reason} ({count} skipped)\n").as_bytes());
    assert!(!(installable && std::env::var_os("CI").is_some()), "{test} must not be skipped here: {reason}");
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("MONOPOD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_monopod").into(), PathBuf::from)
}

/// The words of a command line that the binary under test begins with: what runs it, if anything must, and itself.
pub fn program() -> Vec<PathBuf> {
    std::env::var_os("MONOPOD_RUNNER").map(PathBuf::from).into_iter().chain([binary()]).collect()
}

/// Whether the binary under test is run by qemu-user; the skip of a test that cannot be is said, with its reason.
#[must_use]
pub fn emulated(test: &str, reason: &str) -> bool {
    let emulated = program().len() > 1;
    if emulated {
        skip(test, &format!("under MONOPOD_RUNNER: {reason}"), false);
    }
    emulated
}

/// Why a binary that is not static cannot be an init.
pub const NO_LOADER: &str = "the guest has no loader for it";

/// Whether the binary under test needs a loader and libraries, as one under a sanitizer does, where `reason` says why it must not;
/// the skip is said, with the reason.
#[must_use]
pub fn dynamic(test: &str, reason: &str) -> bool {
    let dynamic = !is_static(&binary());
    if dynamic {
        skip(test, &format!("the binary under test is not static: {reason}"), false);
    }
    dynamic
}

/// A command of the binary under test.
pub fn command() -> Command {
    let words = program();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// The guests' init: a static binary, built by cargo as an example of the package.
fn test_init() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MONOPOD_TESTINIT") {
            return path.into();
        }
        let beside = Path::new(env!("CARGO_BIN_EXE_monopod")).with_file_name("examples").join("testinit");
        if is_static(&beside) {
            return beside;
        }
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("testinit");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "testinit", "--target", &target, "--target-dir"]).arg(&dir);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success(), "the tests' init needs the rust target {target}");
        dir.join(target).join("debug/examples/testinit")
    })
}

/// Whether an ELF file runs without a dynamic loader: no program header of type PT_INTERP (3).
pub fn is_static(path: &Path) -> bool {
    let Ok(elf) = fs::read(path) else { return false };
    let (start, size, count) = match elf[4] {
        2 => (u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize, 56, elf[56]),
        _ => (u32::from_le_bytes(elf[28..32].try_into().unwrap()) as usize, 32, elf[44]),
    };
    (0..usize::from(count)).all(|i| elf[start + i * size] != 3)
}

/// Whether an ELF file is one of 64 bits.
pub fn is_64_bit(path: &Path) -> bool {
    fs::read(path).unwrap()[4] == 2
}

/// Whether the binary under test is LXC's own.
pub fn is_lxc() -> bool {
    binary().file_name().is_some_and(|name| name == "lxc-start")
}

/// A container: its directory under a lxcpath of its own, its config, its rootfs, its sandbox.
pub struct Guest {
    name: String,
    lxcpath: PathBuf,
    config: String,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    before: OnceLock<String>,
    view: Option<CgroupView>,
    kernel: Option<Kernel>,
    /// The namespace in which everything runs.
    pub sandbox: Sandbox,
}

impl Guest {
    /// A guest whose rootfs is a directory with `/init` and nothing else, no network, no console.
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mp-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        Self::named(&name, label)
    }

    /// A guest of a given name. Only for a sandbox with a cgroup view of its own, else two tests meet.
    pub fn named(name: &str, label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("monopod-test-{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let lxcpath = std::env::temp_dir().join(unique);
        let rootfs = lxcpath.join(name).join("rootfs");
        for dir in ["dev", "proc", "sys", "mnt", "tmp"] {
            fs::create_dir_all(rootfs.join(dir)).unwrap();
        }
        // The init is shared by hard link where the filesystem allows it.
        let _ = fs::hard_link(test_init(), rootfs.join("init"))
            .or_else(|_| fs::copy(test_init(), rootfs.join("init")).map(drop));
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.console.path = none\nlxc.pty.max = 16\nlxc.log.level = DEBUG\n",
            rootfs.display()
        );
        Guest {
            name: name.into(),
            lxcpath,
            config,
            options: Vec::new(),
            environment: Vec::new(),
            before: OnceLock::new(),
            view: None,
            kernel: None,
            sandbox: Sandbox::new(),
        }
    }

    /// Gives the sandbox cgroup hierarchies of its own, subtrees of the machine's, so that any name is free in them.
    pub fn with_cgroup_view(mut self) -> Self {
        self.view = Some(CgroupView::new(&self.sandbox));
        self
    }

    /// Has everything run under another kernel from now on.
    pub fn set_kernel(&mut self, kernel: Kernel) {
        self.kernel = Some(kernel);
    }

    /// Has `command` run inside the sandbox, under the kernel.
    pub fn enter(&self, command: &mut Command) {
        self.sandbox.enter(command);
        if let Some(kernel) = &self.kernel {
            sandbox::filter(command, kernel.program());
        }
    }

    /// Whether a cgroup path is the container's.
    pub fn owns_cgroup(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        let in_view = self.view.as_ref().is_none_or(|view| parts.any(|part| part == view.0));
        // The second and third form are LXC's.
        let (restarted, payload) = (format!("{}-", self.name), format!(".{}", self.name));
        in_view && parts.any(|part| part == self.name || part.starts_with(&restarted) || part.ends_with(&payload))
    }

    /// Adds lines to the config. `{dir}` stands for the guest's directory, `{rootfs}` for its rootfs, `{name}`
    /// for its name.
    pub fn config(mut self, lines: &str) -> Self {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let line = line.replace("{dir}", &self.dir().to_string_lossy());
            let line = line.replace("{rootfs}", &self.rootfs().to_string_lossy()).replace("{name}", &self.name);
            self.config += &(line + "\n");
        }
        self
    }

    /// Throws away the config made so far.
    pub fn without_config(mut self) -> Self {
        self.config.clear();
        self
    }

    /// Number of the config's next line.
    pub fn next_line(&self) -> usize {
        self.config.lines().count() + 1
    }

    /// Adds command-line words for the start.
    pub fn options(mut self, words: &[&str]) -> Self {
        self.options.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Sets a variable of the supervisor's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the rootfs a shell and busybox's commands. False, with the skip said, where there is no static busybox.
    #[must_use]
    pub fn busybox(&self, test: &str) -> bool {
        let Some(busybox) =
            ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| is_static(path))
        else {
            skip(test, "no static busybox (package busybox-static)", true);
            return false;
        };
        let bin = self.rootfs().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for applet in ["sh", "cat", "env", "mount", "sleep", "reboot", "poweroff", "mkdir", "echo", "tty", "kill"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        true
    }

    /// Writes a hook script to the guest's directory and returns its path. `$dir` is set to that directory.
    pub fn script(&self, name: &str, body: &str) -> String {
        let path = self.dir().join(name);
        fs::write(&path, format!("#!/bin/sh\ndir={}\n{body}\n", self.dir().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, lxcpath/NAME.
    pub fn dir(&self) -> PathBuf {
        self.lxcpath.join(&self.name)
    }

    /// Its rootfs.
    pub fn rootfs(&self) -> PathBuf {
        self.dir().join("rootfs")
    }

    /// A file of its rootfs, as text; empty while it is not there.
    pub fn rootfs_file(&self, name: &str) -> String {
        fs::read_to_string(self.rootfs().join(name)).unwrap_or_default()
    }

    /// A file of its directory, as text; empty while it is not there.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap_or_default()
    }

    /// What the guest said so far.
    pub fn results(&self) -> String {
        self.rootfs_file("results")
    }

    /// The guest's report.
    pub fn report(&self) -> Report {
        let text = self.rootfs_file("report");
        assert!(!text.is_empty(), "the guest wrote no report\n{}", self.logs());
        Report::new(text)
    }

    /// Waits until the guest has said `line`.
    pub fn wait_said(&self, line: &str) {
        let said = wait_for(DEADLINE, || self.results().lines().any(|l| l == line));
        assert!(said, "the guest did not say {line:?}:\n{}\n{}", self.results(), self.logs());
    }

    /// Pids of the container's processes, seen from the host.
    pub fn pids(&self) -> Vec<i32> {
        leaks::in_cgroup(self)
    }

    /// Pid of the container's first process, seen from the host: pid 1 in a namespace one level down.
    pub fn init(&self) -> i32 {
        let is_first = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default().to_owned();
            line.split_whitespace().skip(2).eq(["1"])
        };
        let first = self.pids().into_iter().find(is_first);
        first.unwrap_or_else(|| panic!("no init in {:?}\n{}", self.pids(), self.logs()))
    }

    /// The log, for a failing test's output.
    pub fn logs(&self) -> String {
        let log = self.file("log");
        let tail = log.lines().count().saturating_sub(40);
        format!("config:\n{}\nlog:\n{}", self.config, log.lines().skip(tail).collect::<Vec<_>>().join("\n"))
    }

    /// A command for `tool` (`start`, `info`, ...) of the binary under test, with `-n` and `-P`, inside the sandbox.
    pub fn tool(&self, tool: &str, words: &[&str]) -> Command {
        let mut command = match is_lxc() {
            true => Command::new(binary().with_file_name(format!("lxc-{tool}"))),
            false => command(),
        };
        if !is_lxc() {
            command.arg(tool);
        }
        self.finish(command, words)
    }

    /// A command for LXC's own `lxc-TOOL`; None where LXC is not installed.
    pub fn stock_tool(&self, tool: &str, words: &[&str]) -> Option<Command> {
        let path = Path::new("/usr/bin").join(format!("lxc-{tool}"));
        // A link of the same name to the binary under test is not LXC's own.
        let is_lxc = fs::canonicalize(&path).is_ok_and(|real| real == path);
        is_lxc.then(|| self.finish(Command::new(path), words))
    }

    fn finish(&self, mut command: Command, words: &[&str]) -> Command {
        command.args(["-n", &self.name, "-P"]).arg(&self.lxcpath).args(words);
        command.stdin(Stdio::null()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.enter(&mut command);
        command
    }

    /// Runs a client command to its end.
    pub fn client(&self, tool: &str, words: &[&str]) -> Ended {
        Running::new(self, self.tool(tool, words)).wait()
    }

    /// Writes the config, with `steps` for the guest's init.
    pub fn install(&self, steps: &str) {
        let init = if steps.is_empty() { String::new() } else { format!("lxc.init.cmd = /init {steps}\n") };
        fs::write(self.dir().join("config"), format!("{}{init}", self.config)).unwrap();
    }

    /// The command that starts the guest in the foreground with `steps` for its init.
    pub fn start_command(&self, steps: &str) -> Command {
        self.before.get_or_init(|| self.sandbox_state());
        self.install(steps);
        let log = self.dir().join("log");
        let mut words = vec!["-F", "-o", log.to_str().unwrap(), "-l", "DEBUG"];
        words.extend(self.options.iter().map(String::as_str));
        if self.options.iter().any(|option| option == "-d") {
            words.remove(0);
        }
        self.tool("start", &words)
    }

    /// Starts the guest in the foreground.
    pub fn start(&self, steps: &str) -> Running<'_> {
        Running::new(self, self.start_command(steps))
    }

    /// Starts the guest and waits until the supervisor is gone.
    pub fn run(&self, steps: &str) -> Ended {
        self.start(steps).wait()
    }

    /// Starts the guest with nothing on the command line but `-F` and `words`, so that the config alone says where the log is.
    pub fn start_plain(&self, steps: &str, words: &[&str]) -> Running<'_> {
        self.before.get_or_init(|| self.sandbox_state());
        self.install(steps);
        Running::new(self, self.tool("start", &[&["-F"], words].concat()))
    }

    /// Asks the supervisor for the state until it is RUNNING.
    pub fn wait_running(&self) {
        let running = wait_for(DEADLINE, || self.client("info", &["-s", "-H"]).stdout.trim() == "RUNNING");
        assert!(running, "not RUNNING\n{}", self.logs());
    }

    /// The sandbox' mounts, ptys and run files, and the loop devices on files of the guest: one line each.
    pub fn sandbox_state(&self) -> String {
        let mut lines = self.sandbox.look(|| {
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let mut lines: Vec<String> =
                mounts.lines().map(|line| format!("mount {}", line.splitn(3, ' ').nth(2).unwrap_or(""))).collect();
            lines.extend(names("/dev/pts").into_iter().map(|name| format!("pty {name}")));
            let links = if self.sandbox.has_network() { names("/sys/class/net") } else { Vec::new() };
            lines.extend(links.into_iter().map(|name| format!("link {name}")));
            let device = fs::metadata("/run").unwrap().dev();
            run_files(Path::new("/run"), device, &mut lines);
            lines
        });
        let ours = self.lxcpath.to_string_lossy();
        for name in names("/sys/block").into_iter().filter(|name| name.starts_with("loop")) {
            let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
            lines.extend(file.contains(&*ours).then(|| format!("/dev/{name}: {}", file.trim_end())));
        }
        lines.join("\n")
    }

    /// The same before the first start.
    pub fn state_before(&self) -> &str {
        self.before.get_or_init(|| self.sandbox_state())
    }

    /// The leak oracle.
    pub fn assert_nothing_left(&self) {
        leaks::assert_none(self);
    }

    /// Ends the guest's processes and removes its cgroups.
    pub fn clean_up(&self) {
        let inside = self.sandbox.processes().into_iter().chain(self.pids());
        inside.for_each(|pid| kill(pid, libc::SIGKILL));
        wait_for(Duration::from_secs(2), || self.pids().is_empty());
        leaks::cgroups(self).into_iter().for_each(remove_cgroup);
    }
}

impl Drop for Guest {
    /// Removes what a failed test left, so that the next one starts clean.
    fn drop(&mut self) {
        self.clean_up();
        let _ = fs::remove_dir_all(&self.lxcpath);
    }
}

/// Names in a directory; none while it is not there.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A line for each file that is on this filesystem and no directory. What LXC keeps there is its own.
fn run_files(directory: &Path, device: u64, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, Ok(data)) = (entry.path(), entry.metadata()) else { continue };
        match data.is_dir() {
            true if data.dev() == device && path != Path::new("/run/lxc") => run_files(&path, device, lines),
            true => {}
            false => lines.push(format!("run file {}", path.display())),
        }
    }
}

/// One directory in each hierarchy, bound over the hierarchy's mount point in a sandbox.
struct CgroupView(String);

impl CgroupView {
    fn new(sandbox: &Sandbox) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("mp-view-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        sandbox.sh(&format!(
            "for hierarchy in /sys/fs/cgroup/*/; do
                view=${{hierarchy}}{id}
                mkdir $view
                for file in cpuset.cpus cpuset.mems; do
                    [ ! -e $view/$file ] || cat $hierarchy/$file > $view/$file
                done
                mount --bind $view $hierarchy
            done"
        ));
        CgroupView(id)
    }
}

impl Drop for CgroupView {
    fn drop(&mut self) {
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_cgroup(hierarchy.path().join(&self.0));
        }
    }
}

/// Removes a cgroup with all below it.
pub fn remove_cgroup(dir: PathBuf) {
    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// A started command whose output is collected while it runs.
pub struct Running<'g> {
    guest: &'g Guest,
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// What a pipe has delivered so far, and whether it is at its end.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<(Vec<u8>, bool)>>);

impl Collected {
    fn from(pipe: Option<impl Read + Send + 'static>) -> Self {
        let collected = Collected::default();
        let Some(mut pipe) = pipe else {
            collected.0.lock().unwrap().1 = true;
            return collected;
        };
        let ours = collected.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                ours.0.lock().unwrap().0.extend_from_slice(&buffer[..n]);
            }
            ours.0.lock().unwrap().1 = true;
        });
        collected
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap().0).into_owned()
    }

    fn at_end(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

impl<'g> Running<'g> {
    /// Starts `command` with its output collected. A stdin that the test did not ask for is /dev/null.
    pub fn new(guest: &'g Guest, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(guest, command)
    }

    /// Starts `command` with the descriptors it has.
    pub fn spawn(guest: &'g Guest, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Collected::from(child.stdout.take()), Collected::from(child.stderr.take()));
        Running { guest, child, stdout, stderr }
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, signal: i32) {
        kill(self.pid(), signal);
    }

    /// Writes to its stdin (which the test made a pipe).
    pub fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Its stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Its stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its stdout contains `text`.
    pub fn wait_stdout(&self, text: &str) {
        let seen = wait_for(DEADLINE, || self.stdout().contains(text));
        assert!(seen, "no {text:?} in stdout:\n{}\n{}", self.stdout(), self.guest.logs());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends.
    pub fn wait(self) -> Ended {
        self.wait_at_most(DEADLINE)
    }

    /// Waits until it ends, at most for `limit`.
    pub fn wait_at_most(mut self, limit: Duration) -> Ended {
        let mut status = None;
        let ended = wait_for(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // A process left behind may hold the pipes open; that is the leak oracle's business, not a reason to wait.
        wait_for(Duration::from_millis(500), || self.stdout.at_end() && self.stderr.at_end());
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        assert!(ended, "still running after {limit:?}\nstdout: {stdout}\nstderr: {stderr}\n{}", self.guest.logs());
        let signal = status.and_then(|status| status.signal());
        Ended { code: status.and_then(|status| status.code()), signal, stdout, stderr, logs: self.guest.logs() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a command ended. Shown in full by `{}`, for assertions.
pub struct Ended {
    /// Its exit code; None if a signal killed it.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
    logs: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { code, signal, stdout, stderr, logs } = self;
        write!(f, "\nexit code: {code:?}, signal: {signal:?}\nstdout:\n{stdout}\nstderr:\n{stderr}\n{logs}")
    }
}
