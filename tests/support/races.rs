//! Those who exchange paths behind the supervisor's back, and what must not notice: a tree of the host's beside the rootfs.

use super::{Guest, sandbox};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How many starts a race gets: `usual`, or what `MONOPOD_ROUNDS` says.
pub fn rounds(usual: usize) -> usize {
    std::env::var("MONOPOD_ROUNDS").map_or(usual, |text| text.parse().unwrap())
}

/// A thread that exchanges pairs of paths without a pause, as long as this lives.
pub struct Swapper {
    over: Arc<AtomicBool>,
    rest: Arc<Mutex<()>>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    _alone: MutexGuard<'static, ()>,
}

impl Swapper {
    /// Exchanges each pair in turn. What has gone meanwhile, because somebody replaced it, is made again: the first as an empty
    /// file, the second as a link to `bait`.
    pub fn new(pairs: Vec<(PathBuf, PathBuf)>, bait: impl Fn(&Path) -> PathBuf + Send + 'static) -> Self {
        // Two of them would take the processors from those whom they race.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (over, rest, count) = <(Arc<AtomicBool>, Arc<Mutex<()>>, Arc<AtomicU64>)>::default();
        let (stop, pause, counter) = (over.clone(), rest.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                let _going = pause.lock();
                for (one, other) in &pairs {
                    match sandbox::exchange(one, other) {
                        Ok(()) => drop(counter.fetch_add(1, Relaxed)),
                        Err(_) => {
                            let _ = symlink(bait(one), other);
                            let _ = fs::File::create_new(one);
                        }
                    }
                }
            }
        });
        Swapper { over, rest, count, thread: Some(thread), _alone: alone }
    }

    /// Does something while nothing is exchanged.
    pub fn paused<T>(&self, act: impl FnOnce() -> T) -> T {
        let _rest = self.rest.lock().unwrap();
        act()
    }

    /// How often it has exchanged two.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A tree of the host's that nothing may touch: watched for every file that is opened for writing, and compared afterwards.
pub struct Canary {
    tree: PathBuf,
    before: BTreeMap<PathBuf, String>,
    events: Inotify,
}

impl Canary {
    /// Beside the rootfs, so that links in it reach it by absolute and by relative paths. It has something by every name that
    /// the supervisor looks for in a rootfs.
    pub fn new(guest: &Guest) -> Self {
        let tree = guest.dir().join("canary");
        let directories = "pts sys/net sys/kernel fs/cgroup socket sub/deep binderfs";
        let files = "null ptmx console tty1 pts/ptmx pts/0 cmdline sysrq-trigger init file socket/property_service \
                     binderfs/binder-control sub/deep/file";
        // By a process of its own: a child that another test forks meanwhile would keep a file of ours open for writing.
        guest.sandbox.sh(&format!(
            "mkdir {0}; cd {0}; mkdir -p {directories}; for file in {files}; do echo $file > $file; done",
            tree.display()
        ));
        for (name, minor) in [("full", 7), ("zero", 5)] {
            mknod(&tree.join(name), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, minor)).unwrap();
        }
        Canary::again(guest)
    }

    /// The same tree, as it is by now.
    pub fn again(guest: &Guest) -> Self {
        let tree = guest.dir().join("canary");
        let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        let before = digest(&tree);
        let what = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE;
        for path in before.keys().filter(|path| path.is_dir()) {
            events.add_watch(path, what).unwrap();
        }
        Canary { tree, before, events }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Fails if anything in it was written, made, removed, given another mode or owner, or opened for writing.
    #[track_caller]
    pub fn assert_untouched(&self, when: &str) {
        let events = self.events.read_events().unwrap_or_default();
        assert!(events.is_empty(), "{when}: {events:?}");
        assert_eq!(digest(&self.tree), self.before, "{when}");
    }
}

/// Everything about every file below, but when it was read.
fn digest(tree: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![tree.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        let facts = (meta.ino(), meta.mode(), meta.uid(), meta.gid(), meta.rdev(), meta.nlink(), times, content);
        all.insert(path, format!("{facts:?}"));
    }
    all
}
