//! Where the containers run: a mount namespace of our own, so that the host sees nothing of it and keeps nothing.
//!
//! A tmpfs over /run holds the rootfs, the configs and what the tools keep there (lxc's locks). Three namespaces share it
//! and differ in /sys/fs/cgroup: as found on this host, with the v1 `cpu` hierarchy alone, which is what the floor program
//! uses, and empty. The driver has one thread, so it may change between them before each start.

use crate::report::Row;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const WORK: &str = "/run/monopod-bench";
const CGROUP: &str = "/sys/fs/cgroup";
const CPU: &str = "/sys/fs/cgroup/cpu";

/// Which cgroup hierarchies a subject sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Only v1 `cpu`.
    CpuOnly,
    /// All that the host has.
    AsFound,
    /// None.
    None,
}

/// The private place.
pub struct Place {
    cpu_only: File,
    as_found: File,
    none: File,
    shown: Cell<Option<View>>,
    cgroup_parents: Vec<PathBuf>,
}

/// Closes what a caller left open in us (make's job slots, a terminal), which the subjects would inherit and count.
pub fn close_inherited() {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .map(|fds| fds.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        let _ = nix::unistd::close(fd);
    }
}

fn mounted<S: AsRef<Path>>(source: Option<&str>, target: S, kind: Option<&str>, flags: MsFlags) -> Result<(), String> {
    let target = target.as_ref();
    mount(source, target, kind, flags, None::<&str>).map_err(|e| format!("mount {}: {}", target.display(), e.desc()))
}

fn written(path: &str, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|e| format!("write {path}: {e}"))
}

fn directory(path: &str) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|e| format!("mkdir {path}: {e}"))
}

fn namespace() -> Result<File, String> {
    File::open("/proc/self/ns/mnt").map_err(|e| format!("open /proc/self/ns/mnt: {e}"))
}

fn new_namespace() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|e| format!("a private mount namespace: {} (root is needed)", e.desc()))?;
    mounted(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE)
}

impl Place {
    /// Makes the place.
    pub fn enter() -> Result<Self, String> {
        if !Path::new(CPU).join("tasks").exists() {
            return Err(format!("{CPU} is not a mounted cgroup v1 hierarchy: the floor program needs it"));
        }
        let init = std::env::var("INIT").unwrap_or("out/bench/init".to_owned());
        let init =
            fs::read(&init).map_err(|e| format!("read {init}: {e} (musl-gcc -static benches/init.c makes it)"))?;
        new_namespace()?;
        mounted(Some("bench"), "/run", Some("tmpfs"), MsFlags::empty())?;
        // Without /usr nspawn takes it for no operating system.
        for folder in ["rootfs/dev", "rootfs/proc", "rootfs/sys", "rootfs/usr", "cpu"] {
            directory(&format!("{WORK}/{folder}"))?;
        }
        let program = format!("{WORK}/rootfs/init");
        fs::write(&program, init).map_err(|e| format!("write {program}: {e}"))?;
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(|e| format!("chmod {program}: {e}"))?;
        write_configs()?;
        let as_found = namespace()?;

        new_namespace()?;
        let kept = format!("{WORK}/cpu");
        mounted(Some(CPU), &kept, None, MsFlags::MS_BIND)?;
        umount2(CGROUP, MntFlags::MNT_DETACH).map_err(|e| format!("umount {CGROUP}: {}", e.desc()))?;
        mounted(Some("cgroup"), CGROUP, Some("tmpfs"), MsFlags::empty())?;
        directory(CPU)?;
        mounted(Some(&kept), CPU, None, MsFlags::MS_MOVE)?;
        let cpu_only = namespace()?;

        new_namespace()?;
        umount2(CPU, MntFlags::MNT_DETACH).map_err(|e| format!("umount {CPU}: {}", e.desc()))?;
        let none = namespace()?;

        let mut place = Place { cpu_only, as_found, none, shown: Cell::new(None), cgroup_parents: Vec::new() };
        place.show(View::AsFound)?;
        place.cgroup_parents = place.hierarchies().map(|h| h.join("lxc")).filter(|lxc| !lxc.exists()).collect();
        Ok(place)
    }

    /// Changes the driver, and what it starts from now on, to a view.
    ///
    /// The driver stays there until the next change: a change while a subject starts costs that start milliseconds.
    pub fn show(&self, view: View) -> Result<(), String> {
        if self.shown.replace(Some(view)) == Some(view) {
            return Ok(());
        }
        let namespace = match view {
            View::CpuOnly => &self.cpu_only,
            View::AsFound => &self.as_found,
            View::None => &self.none,
        };
        setns(namespace, CloneFlags::CLONE_NEWNS).map_err(|e| format!("setns: {}", e.desc()))
    }

    /// The containers' root directory.
    pub fn rootfs(&self) -> PathBuf {
        Path::new(WORK).join("rootfs")
    }

    /// What `-P` gets: the folder of containers.
    pub fn folder(&self) -> &'static Path {
        Path::new(WORK)
    }

    /// A file of the place.
    pub fn file(&self, name: &str) -> PathBuf {
        Path::new(WORK).join(name)
    }

    fn hierarchies(&self) -> impl Iterator<Item = PathBuf> + use<> {
        fs::read_dir(CGROUP).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
    }

    /// How many hierarchies the view as found has beside `cpu`.
    pub fn further_hierarchies(&self) -> usize {
        let _ = self.show(View::AsFound);
        self.hierarchies().filter(|h| h.join("cgroup.procs").exists()).count().saturating_sub(1)
    }

    fn groups_of(&self, name: &str) -> Vec<PathBuf> {
        let places = [
            format!("lxc/{name}"),
            format!("lxc.payload.{name}"),
            format!("lxc.monitor.{name}"),
            name.to_owned(),
            format!("machine.slice/{name}"),
        ];
        self.hierarchies().flat_map(|h| places.iter().map(move |p| h.join(p)).collect::<Vec<_>>()).collect()
    }

    /// Removes the cgroups that one container of ours left, so that the next start has the path for itself; how many
    /// there were.
    pub fn sweep(&self, name: &str) -> usize {
        let _ = self.show(View::AsFound);
        let left: Vec<_> = self.groups_of(name).into_iter().filter(|group| group.exists()).collect();
        for group in &left {
            let _ = fs::remove_dir(group);
        }
        left.len()
    }

    /// Takes away the `lxc` folders that were not there before, and says so if a cgroup of ours is still there.
    pub fn left_behind(&self, rows: &[Row]) -> Result<(), String> {
        let left: usize = rows.iter().map(|row| self.sweep(row.subject.name())).sum();
        for parent in &self.cgroup_parents {
            let _ = fs::remove_dir(parent);
        }
        if left > 0 { Err(format!("{left} cgroups were left behind at the end")) } else { Ok(()) }
    }
}

/// The same config for lxc-start and monopod: what Android's asks for, less its mounts; for the console's part with a log; and
/// for what does as little as bubblewrap.
fn write_configs() -> Result<(), String> {
    let base = format!(
        "lxc.uts.name = bench\nlxc.rootfs.path = dir:{WORK}/rootfs\nlxc.autodev = 1\nlxc.mount.auto = proc:rw sys:ro\n\
         lxc.apparmor.profile = unconfined\nlxc.net.0.type = none\n"
    );
    let usual = format!("{base}lxc.tty.max = 4\nlxc.pty.max = 64\n");
    written(&format!("{WORK}/config"), &usual)?;
    written(&format!("{WORK}/config.console"), &format!("{usual}lxc.console.logfile = {WORK}/console\n"))?;
    written(&format!("{WORK}/config.bare"), &format!("{base}lxc.tty.max = 0\nlxc.console.path = none\n"))
}
