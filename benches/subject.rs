//! The tools that are compared, and the command lines by which each does the same work.

use crate::life::Mode;
use crate::oci;
use crate::parts;
use crate::place::{Place, View};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What kind of tool a subject is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our own program of bare system calls.
    Floor,
    /// monopod.
    Monopod,
    /// Debian's lxc-start.
    Lxc,
    /// Debian's bubblewrap: no cgroup, no ptys, no restart, no console.
    Bwrap,
    /// Debian's crun or runc: by a bundle; no ttys, no restart, no console but their caller's.
    Oci,
    /// Debian's systemd-nspawn: no ttys.
    Nspawn,
}

/// A tool in a view of the hierarchies.
pub struct Subject {
    /// What the tables call it.
    pub label: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its executable.
    pub program: PathBuf,
    /// The hierarchies it sees.
    pub view: View,
    /// Whether the goals are about it, and for which build.
    pub build: Option<Build>,
    name: String,
}

/// monopod's two builds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The stable toolchain's std.
    Default,
    /// std rebuilt for size.
    Small,
}

impl Subject {
    fn new(label: &'static str, kind: Kind, program: PathBuf, view: View, build: Option<Build>) -> Self {
        let tag: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        Subject { label, kind, program, view, build, name: format!("bench{}{tag}", std::process::id()) }
    }

    /// The container's name: one for each subject and run, so that nobody else's container has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is what the others are divided by.
    pub fn is_floor(&self) -> bool {
        self.kind == Kind::Floor && self.view == View::CpuOnly
    }

    /// Whether it starts the container again when init asks for a reboot. nspawn leaves that to its service.
    pub fn restarts(&self) -> bool {
        matches!(self.kind, Kind::Floor | Kind::Monopod | Kind::Lxc)
    }

    /// Whether it relays the container's console, a pty, to a file.
    pub fn relays(&self) -> bool {
        (self.restarts() || self.kind == Kind::Nspawn) && !self.is_bare()
    }

    /// Whether it is monopod asked for no more than bubblewrap does.
    pub fn is_bare(&self) -> bool {
        self.view == View::None
    }

    /// Whether it relays the console to its own output, not to a file that it opens.
    pub fn relays_to_stdout(&self) -> bool {
        matches!(self.kind, Kind::Floor | Kind::Nspawn)
    }

    /// Whether many of it are held at once: nspawn locks the directory, and what sees all hierarchies is measured elsewhere.
    pub fn is_held(&self) -> bool {
        self.view == View::CpuOnly || self.kind == Kind::Oci
    }

    /// The command that starts a container of this `name` and stays until it is gone.
    pub fn start(&self, place: &Place, name: &str, mode: Mode) -> Command {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Floor => {
                command.arg(name).arg(place.rootfs());
            }
            Kind::Bwrap => {
                command.arg("--bind").arg(place.rootfs()).args(["/", "--dev", "/dev", "--proc", "/proc"]);
                command.args(["--ro-bind", "/sys", "/sys", "--unshare-pid", "--unshare-uts", "--unshare-ipc"]);
                command.args(["--hostname", "bench", "--as-pid-1", "--"]);
            }
            Kind::Oci => {
                command.args(["run", "--bundle"]).arg(oci::bundle(place, mode)).arg(name);
                return command;
            }
            Kind::Nspawn => {
                command.args(["--quiet", "--register=no", "--keep-unit", "--console=read-only", "--machine"]).arg(name);
                command.arg("--directory").arg(place.rootfs());
            }
            Kind::Monopod | Kind::Lxc => {
                let config = match mode {
                    _ if self.is_bare() => "config.bare",
                    Mode::Spew(_) => "config.console",
                    _ => "config",
                };
                if self.kind == Kind::Monopod {
                    command.arg("start");
                }
                command
                    .args(["-n", name, "-P"])
                    .arg(place.folder())
                    .arg("-f")
                    .arg(place.file(config))
                    .args(["-F", "--"]);
            }
        }
        command.arg("/init").args(mode.words());
        command
    }

    /// The command that asks for the container's state.
    pub fn info(&self, place: &Place) -> Command {
        let mut command;
        if self.kind == Kind::Lxc {
            command = Command::new("lxc-info");
        } else {
            command = Command::new(&self.program);
            command.arg("info");
        }
        command.args(["-n", &self.name, "-P"]).arg(place.folder()).arg("-s");
        command
    }

    /// The command that ends the container at once; `init` is its init's pid on the host.
    pub fn stop(&self, place: &Place, init: i32) -> Command {
        let mut command;
        match self.kind {
            Kind::Floor | Kind::Bwrap | Kind::Nspawn => {
                command = Command::new("/bin/kill");
                command.args(["-9", &init.to_string()]);
            }
            Kind::Oci => {
                command = Command::new(&self.program);
                command.args(["kill", &self.name, "KILL"]);
            }
            Kind::Monopod => {
                command = Command::new(&self.program);
                command.args(["stop", "-n", &self.name, "-P"]).arg(place.folder()).arg("-k");
            }
            Kind::Lxc => {
                command = Command::new("lxc-stop");
                command.args(["-n", &self.name, "-P"]).arg(place.folder()).arg("-k");
            }
        }
        command
    }
}

/// Where a program of the system's is.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn built(variable: &str, otherwise: &str) -> Option<PathBuf> {
    Path::new(&std::env::var_os(variable).unwrap_or(otherwise.into())).canonicalize().ok()
}

/// The subjects that are installed or built; what is missing is said, for a table without it must not look complete.
pub fn present() -> Result<Vec<Subject>, String> {
    let floor = built("FLOOR", "out/bench/floor")
        .ok_or("no floor program at $FLOOR or out/bench/floor (musl-gcc -static benches/floor.c makes it)")?;
    let monopod = built("MONOPOD", "out/x86_64-unknown-linux-musl/monopod");
    let small = built("MONOPOD_SMALL", "out/x86_64-unknown-linux-musl/monopod-small");
    let lxc = installed("lxc-start");
    let wanted = [
        ("floor", Kind::Floor, Some(floor), View::CpuOnly, None),
        ("monopod", Kind::Monopod, monopod.clone(), View::CpuOnly, Some(Build::Default)),
        ("monopod, small build", Kind::Monopod, small, View::CpuOnly, Some(Build::Small)),
        ("monopod, all hierarchies", Kind::Monopod, monopod.clone(), View::AsFound, None),
        ("monopod (no cgroup, no ptys)", Kind::Monopod, monopod, View::None, None),
        ("lxc-start", Kind::Lxc, lxc.clone(), View::CpuOnly, None),
        ("lxc-start, all hierarchies", Kind::Lxc, lxc, View::AsFound, None),
        ("bwrap (no cgroup, no ptys)", Kind::Bwrap, installed("bwrap"), View::CpuOnly, None),
        ("crun (no ptys)", Kind::Oci, installed("crun"), View::CpuOnly, None),
        // It wants the devices hierarchy.
        ("runc (no ptys), all hierarchies", Kind::Oci, installed("runc"), View::AsFound, None),
        ("nspawn, all hierarchies", Kind::Nspawn, installed("systemd-nspawn"), View::AsFound, None),
    ];
    let mut subjects = Vec::new();
    for (label, kind, program, view, build) in wanted {
        match program {
            Some(program) => subjects.push(Subject::new(label, kind, program, view, build)),
            None => eprintln!("bench: skipped: {label}, it is not here"),
        }
    }
    Ok(subjects)
}

/// Starts each subject once, which also warms the page cache, and drops those that cannot do it here.
pub fn keep_working(place: &Place, subjects: &mut Vec<Subject>) {
    subjects.retain(|subject| {
        let worked = parts::exit_at_once(place, subject).map(drop);
        if let Err(reason) = &worked {
            eprintln!("bench: skipped: {}, it does not start a container here: {reason}", subject.label);
            place.sweep(subject.name());
        }
        worked.is_ok()
    });
}
