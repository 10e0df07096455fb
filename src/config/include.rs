//! From files and `-s` options to one `Config`: reads, follows `lxc.include`, applies the table, checks the whole.

use super::groups::{self, Groups};
use super::keys::{self, Given, Kind};
use super::lxcpath::lxc_conf;
use super::values::Fault;
use super::{At, COMMAND_LINE, CgroupAccess, Config, Origin, lex, mounts, not_built};
use crate::error::Error;
use crate::files;
use crate::limits;
use crate::logging::log;
use crate::text::{Arena, PathText, Shown, shown};
use core::ffi::CStr;
use core::fmt;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, lstat, stat};
use std::ffi::CString;

/// Boxed, because an error is half a kilobyte that every `?` would copy.
type Result<T, E = Box<Error>> = core::result::Result<T, E>;

/// An error of this step.
#[inline(never)]
fn error(what: fmt::Arguments<'_>) -> Box<Error> {
    Box::new(Error::new("config", what))
}

/// What a config is loaded from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// `-n`
    pub name: &'a CStr,
    /// `-P`
    pub lxcpath: &'a CStr,
    /// `-f`: then this file is the whole config.
    pub rcfile: Option<&'a CStr>,
    /// `-s KEY=VALUE`, in order.
    pub defines: &'a [&'a [u8]],
}

/// Loads the effective config: `rcfile`, or `LXCPATH/NAME/config` if there is one, then the defines, then the fstab,
/// then the checks that need the whole. Text goes to `arena`; one error comes back, with file and line.
pub fn load<'t>(arena: &Arena<'t>, sources: &Sources<'_>) -> crate::error::Result<Box<Config<'t>>> {
    loaded(arena, sources).map_err(|error| *error)
}

fn loaded<'t>(arena: &Arena<'t>, sources: &Sources<'_>) -> Result<Box<Config<'t>>> {
    let full = |_| text_full();
    let mut lxcpath = sources.lxcpath.to_bytes();
    while let [rest @ .., b'/'] = lxcpath {
        if rest.is_empty() {
            break;
        }
        lxcpath = rest;
    }
    let name = arena.copy(sources.name.to_bytes()).map_err(full)?;
    let lxcpath = arena.copy(lxcpath).map_err(full)?;
    let mut config = Box::new(Config::new(name, lxcpath));
    let mut loader = Loader { arena, config: &mut config, open: heapless::Vec::new() };
    if let Some(file) = sources.rcfile {
        loader.first(file.to_bytes())?;
    } else {
        let path = PathText::join(&[lxcpath.to_bytes(), b"/", name.to_bytes(), b"/config"])
            .map_err(|_| error(format_args!("{}/{}: the path is too long", shown(lxcpath), shown(name))))?;
        match lstat(path.c()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            _ => loader.first(path.c().to_bytes())?,
        }
    }
    for (index, define) in sources.defines.iter().enumerate() {
        loader.define(define, u32::try_from(index + 1).unwrap_or(u32::MAX))?;
    }
    loader.fstab()?;
    finish(&mut config, arena)?;
    Ok(config)
}

#[inline(never)]
fn text_full() -> Box<Error> {
    error(format_args!("more than {} bytes of text (limits::TEXT_BYTES)", limits::TEXT_BYTES))
}

/// Text cut short for an error, so that what is behind it is seen too.
struct Brief<'a>(&'a [u8]);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..72) {
            Some(start) => write!(f, "{}...", Shown(start)),
            None => write!(f, "{}", Shown(self.0)),
        }
    }
}

/// Why a file could not be read.
enum Unread {
    Os(Errno),
    Directory,
    NotRegular,
    TooLarge,
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Self {
        Unread::Os(errno)
    }
}

impl Unread {
    /// The error of a file that `what` describes.
    fn error(&self, what: fmt::Arguments<'_>) -> Box<Error> {
        match self {
            Unread::Os(errno) => Box::new(Error::os("config", *errno, what)),
            Unread::Directory => Box::new(Error::os("config", Errno::EISDIR, what)),
            Unread::NotRegular => error(format_args!("{what}: not a regular file")),
            Unread::TooLarge => {
                let most = limits::CONFIG_FILE_BYTES;
                error(format_args!("{what}: larger than {most} bytes (limits::CONFIG_FILE_BYTES)"))
            }
        }
    }
}

/// A path from a line, which has no NUL in it.
fn c_path(path: &[u8]) -> CString {
    CString::new(path).unwrap_or_default()
}

/// What a file is, whatever its name: device and inode.
type Identity = (u64, u64);

/// Reads a regular file without ever waiting: a fifo or device in its place is an error. Only /dev/null, which people
/// name to say "no config", counts as an empty file.
fn read(path: &[u8]) -> Result<(Vec<u8>, Identity), Unread> {
    let path = c_path(path);
    let before = stat(path.as_c_str())?;
    let identity = (before.st_dev as _, before.st_ino as _);
    if before.st_rdev == libc::makedev(1, 3) {
        return Ok((Vec::new(), identity));
    }
    let regular = |found: &FileStat| match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(()),
        libc::S_IFDIR => Err(Unread::Directory),
        _ => Err(Unread::NotRegular),
    };
    regular(&before)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(AT_FDCWD, path.as_c_str(), flags, Mode::empty())?;
    let now = fstat(&file)?;
    regular(&now)?;
    let text = files::rest(&file, now.st_size as u64, limits::CONFIG_FILE_BYTES + 1)?;
    match u64::try_from(text.len()) {
        Ok(0..=limits::CONFIG_FILE_BYTES) => Ok((text, identity)),
        _ => Err(Unread::TooLarge),
    }
}

struct Loader<'l, 't> {
    arena: &'l Arena<'t>,
    config: &'l mut Config<'t>,
    /// The files that are being read, outermost first.
    open: heapless::Vec<Identity, { limits::INCLUDE_DEPTH }>,
}

impl<'t> Loader<'_, 't> {
    /// The file that nobody included.
    fn first(&mut self, path: &[u8]) -> Result<()> {
        let (text, identity) = read(path).map_err(|unread| unread.error(format_args!("{}", Brief(path))))?;
        let file = self.register(path, format_args!("{}", Brief(path)))?;
        self.file(&text, identity, file, format_args!("{}", Brief(path)))
    }

    /// Gives a file its index in `files`; `what` describes it in an error.
    fn register(&mut self, path: &[u8], what: fmt::Arguments<'_>) -> Result<u8> {
        let index = u8::try_from(self.config.files.len()).unwrap_or(COMMAND_LINE);
        let path = self.arena.copy(path).map_err(|_| text_full())?;
        self.config
            .files
            .push(path)
            .map_err(|_| error(format_args!("{what}: more than {} files (limits::FILES)", limits::FILES)))?;
        Ok(index)
    }

    /// All lines of a file.
    fn file(&mut self, text: &[u8], identity: Identity, file: u8, what: fmt::Arguments<'_>) -> Result<()> {
        if self.open.contains(&identity) {
            return Err(error(format_args!("{what}: the file includes itself")));
        }
        self.open.push(identity).map_err(|_| {
            let most = limits::INCLUDE_DEPTH;
            error(format_args!("{what}: nested deeper than {most} (limits::INCLUDE_DEPTH)"))
        })?;
        for (line, text) in lex::lines(text) {
            let at = Origin { file, line };
            let setting = lex::setting(text).map_err(|broken| self.error(at, format_args!("{broken}")))?;
            if let Some(setting) = setting {
                self.set(setting, at)?;
            }
        }
        self.open.pop();
        Ok(())
    }

    /// One `-s` option.
    fn define(&mut self, text: &[u8], number: u32) -> Result<()> {
        let at = Origin { file: COMMAND_LINE, line: number };
        let broken = |broken| self.error(at, format_args!("{broken}"));
        if text.len() > limits::LINE_BYTES {
            return Err(broken(lex::Broken::TooLong));
        }
        let setting = lex::pair(text).map_err(broken)?;
        if memchr::memchr2(b'\n', 0, text).is_some() {
            return Err(self.error(at, format_args!("{}: a value cannot go over lines", Brief(setting.key))));
        }
        self.set(setting, at)
    }

    fn error(&self, at: Origin, what: fmt::Arguments<'_>) -> Box<Error> {
        error(format_args!("{}: {what}", self.config.place(at)))
    }

    fn set(&mut self, setting: lex::Pair<'_>, at: Origin) -> Result<()> {
        let lex::Pair { key, value } = setting;
        let Some((row, sub, old)) = keys::find(key) else {
            return Err(self.unknown(key, at, keys::nearest(key)));
        };
        match row.kind {
            Kind::Include if value.is_empty() => Ok(()),
            Kind::Include => self.include(value, at),
            Kind::Ignored => {
                log::debug!("config: {}: {} has no effect any more", self.config.place(at), shown(row.name));
                Ok(())
            }
            _ => {
                let given = Given { sub, old, value, at, arena: self.arena };
                row.set(self.config, &given).map_err(|fault| self.fault(setting, at, &fault))?;
                not_built::note(self.config, row.name, &given);
                Ok(())
            }
        }
    }

    fn unknown(&self, key: &[u8], at: Origin, nearest: Option<&str>) -> Box<Error> {
        let key = Brief(key);
        match nearest {
            Some(nearest) => self.error(at, format_args!("unknown key \"{key}\", did you mean \"{nearest}\"?")),
            None => self.error(at, format_args!("unknown key \"{key}\"")),
        }
    }

    fn fault(&self, lex::Pair { key, value }: lex::Pair<'_>, at: Origin, fault: &Fault) -> Box<Error> {
        let (key, value) = (Brief(key), Brief(value));
        match fault {
            Fault::Expected(what) => self.error(at, format_args!("{key} = \"{value}\": expected {what}")),
            Fault::Said(text) => self.error(at, format_args!("{key} = \"{value}\": {text}")),
            Fault::Unknown(nearest) => self.unknown(key.0, at, Some(nearest.text())),
            Fault::Full((what, most, limit)) => {
                self.error(at, format_args!("{key} = \"{value}\": more than {most} {what} (limits::{limit})"))
            }
            Fault::Text => {
                let most = limits::TEXT_BYTES;
                self.error(at, format_args!("{key}: more than {most} bytes of text (limits::TEXT_BYTES)"))
            }
        }
    }

    /// `lxc.include`: a file, or all `*.conf` files of a directory, in order of their names.
    fn include(&mut self, path: &[u8], at: Origin) -> Result<()> {
        let place = self.config.place(at);
        match read(path) {
            Err(Unread::Directory) => {
                let unread =
                    |errno| Unread::Os(errno).error(format_args!("{place}: lxc.include = \"{}\"", Brief(path)));
                let names = files::names(&c_path(path)).map_err(unread)?;
                names.iter().filter(|name| name.to_bytes().ends_with(b".conf")).try_for_each(|name| {
                    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
                    let path = [path, slash, name.to_bytes()].concat();
                    let text = read(&path);
                    self.included(&path, text, at)
                })
            }
            // A directory for additions that nobody has made, as userns.conf has one: none to LXC either.
            Err(Unread::Os(Errno::ENOENT)) if path.ends_with(b"/") => Ok(()),
            text => self.included(path, text, at),
        }
    }

    fn included(&mut self, path: &[u8], text: Result<(Vec<u8>, Identity), Unread>, at: Origin) -> Result<()> {
        let (place, brief) = (self.config.place(at), Brief(path));
        let what = format_args!("{place}: lxc.include = \"{brief}\"");
        let (text, identity) = text.map_err(|unread| unread.error(what))?;
        let file = self.register(path, what)?;
        self.file(&text, identity, file, what)
    }

    /// Reads the fstab; its entries go before the others.
    fn fstab(&mut self) -> Result<()> {
        let Some(At { value: path, at }) = self.config.fstab else { return Ok(()) };
        let place = self.config.place(at);
        let what = format_args!("{place}: lxc.mount.fstab = \"{}\"", Brief(path.to_bytes()));
        let (text, _) = read(path.to_bytes()).map_err(|unread| unread.error(what))?;
        // Without a config file the fstab must not become the first of `files`: that one is LXC_CONFIG_FILE.
        let file = match self.config.files.is_empty() {
            true => None,
            false => Some(self.register(path.to_bytes(), what)?),
        };
        let own = self.config.mounts.len();
        for (line, text) in lex::lines(&text) {
            let at = file.map_or(at, |file| Origin { file, line });
            let broken = |broken| error(format_args!("{}:{line}: {broken}", shown(path)));
            let text = lex::sound(text).map_err(broken)?;
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let entry = mounts::entry(self.arena, text, at).and_then(|entry| {
                self.config.mounts.push(entry).map_err(|_| Fault::Full(&("mounts", limits::MOUNTS, "MOUNTS")))
            });
            entry.map_err(|fault| self.fault(lex::Pair { key: b"mount", value: text }, at, &fault))?;
        }
        self.config.fstab_mounts = self.config.mounts.len() - own;
        self.config.mounts.rotate_left(own);
        Ok(())
    }
}

/// The checks and decisions that need the whole config.
fn finish<'t>(config: &mut Config<'t>, arena: &Arena<'t>) -> Result<()> {
    let refused = |at, what: &str| Err(error(format_args!("{}: {what}", config.place(at))));
    if config.caps.drop != 0 && config.caps.keep.is_some() {
        return refused(config.caps.at, "lxc.cap.drop and lxc.cap.keep cannot be used together");
    }
    if config.namespaces.keep.is_some() && config.namespaces.clone.is_some() {
        return refused(config.namespaces.at, "lxc.namespace.keep and lxc.namespace.clone cannot be used together");
    }
    if config.mount_auto.cgroup_by_caps
        && let Some(cgroup) = &mut config.mount_auto.cgroup
    {
        let admin = caps::Capability::CAP_SYS_ADMIN.bitmask();
        let kept = config.caps.keep.unwrap_or(!config.caps.drop) & admin != 0;
        cgroup.access = if kept { CgroupAccess::Rw } else { CgroupAccess::Mixed };
    }
    if let Some((key, at, why)) = groups::no_path(config) {
        return Err(error(format_args!("{}: {}: {why}", config.place(at), shown(key))));
    }
    // The pattern is asked for only where it counts.
    let pattern = match config.isolation.cgroup_dir.or(config.isolation.cgroup_container) {
        None => lxc_conf("lxc.cgroup.pattern"),
        Some(_) => None,
    };
    if pattern.as_ref().is_some_and(|pattern| !groups::is_pattern(pattern)) {
        return Err(error(format_args!("lxc.cgroup.pattern of the system's lxc.conf: {}", groups::PLAIN)));
    }
    let groups = Groups::of(config, pattern.as_deref(), arena).map_err(|_| text_full())?;
    config.groups = groups;
    not_built::finish(config);
    Ok(())
}
