//! fstab lines, mount options and the words of `lxc.mount.auto`.

use super::values::Fault;
use super::{AutoCgroup, AutoProc, AutoSys, CgroupAccess, Create, MountAuto, MountEntry, MountOptions, Origin};
use crate::limits::LINE_BYTES;
use crate::text::{Arena, Line, shown};
use core::ffi::CStr;
use core::fmt;

/// One option of mount(8): the MS_* bits that it sets and that it takes away.
struct Flag {
    name: &'static str,
    set: u64,
    clear: u64,
}

/// As the config holds them. libc's type is the machine's word, on some machines 32 bits.
#[allow(clippy::unnecessary_cast)]
const fn ms(bits: libc::c_ulong) -> u64 {
    bits as u64
}

const fn sets(name: &'static str, bits: libc::c_ulong) -> Flag {
    Flag { name, set: ms(bits), clear: 0 }
}

const fn clears(name: &'static str, bits: libc::c_ulong) -> Flag {
    Flag { name, set: 0, clear: ms(bits) }
}

/// The options that are flags of mount(2).
const FLAGS: [Flag; 33] = [
    sets("defaults", 0),
    sets("ro", libc::MS_RDONLY),
    clears("rw", libc::MS_RDONLY),
    sets("nosuid", libc::MS_NOSUID),
    clears("suid", libc::MS_NOSUID),
    sets("nodev", libc::MS_NODEV),
    clears("dev", libc::MS_NODEV),
    sets("noexec", libc::MS_NOEXEC),
    clears("exec", libc::MS_NOEXEC),
    sets("sync", libc::MS_SYNCHRONOUS),
    clears("async", libc::MS_SYNCHRONOUS),
    sets("dirsync", libc::MS_DIRSYNC),
    sets("remount", libc::MS_REMOUNT),
    sets("mand", libc::MS_MANDLOCK),
    clears("nomand", libc::MS_MANDLOCK),
    sets("noatime", libc::MS_NOATIME),
    clears("atime", libc::MS_NOATIME),
    sets("nodiratime", libc::MS_NODIRATIME),
    clears("diratime", libc::MS_NODIRATIME),
    sets("bind", libc::MS_BIND),
    sets("rbind", libc::MS_BIND | libc::MS_REC),
    sets("relatime", libc::MS_RELATIME),
    clears("norelatime", libc::MS_RELATIME),
    sets("strictatime", libc::MS_STRICTATIME),
    clears("nostrictatime", libc::MS_STRICTATIME),
    sets("lazytime", MS_LAZYTIME),
    clears("nolazytime", MS_LAZYTIME),
    sets("nosymfollow", MS_NOSYMFOLLOW),
    clears("symfollow", MS_NOSYMFOLLOW),
    sets("silent", libc::MS_SILENT),
    clears("loud", libc::MS_SILENT),
    sets("iversion", libc::MS_I_VERSION),
    clears("noiversion", libc::MS_I_VERSION),
];
/// The kernel's numbers, which the libc crate lacks for some targets.
const MS_LAZYTIME: libc::c_ulong = 1 << 25;
const MS_NOSYMFOLLOW: libc::c_ulong = 256;

/// The propagation types, each with its r-form.
const PROPAGATION: [(&str, u64); 8] = [
    ("private", ms(libc::MS_PRIVATE)),
    ("rprivate", ms(libc::MS_PRIVATE | libc::MS_REC)),
    ("shared", ms(libc::MS_SHARED)),
    ("rshared", ms(libc::MS_SHARED | libc::MS_REC)),
    ("slave", ms(libc::MS_SLAVE)),
    ("rslave", ms(libc::MS_SLAVE | libc::MS_REC)),
    ("unbindable", ms(libc::MS_UNBINDABLE)),
    ("runbindable", ms(libc::MS_UNBINDABLE | libc::MS_REC)),
];

/// The option field of a mount, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Options<'t> {
    /// What mount(2) gets.
    pub mount: MountOptions<'t>,
    /// `create=`
    pub create: Create,
    /// `optional`
    pub optional: bool,
    /// `relative`
    pub relative: bool,
    /// `loop`
    pub image: bool,
    /// `idmap=`: `container`, or the path of a user namespace.
    pub idmap: Option<&'t CStr>,
}

/// Takes an option field apart. What is neither a flag nor a word of LXC's goes to the filesystem as data, in order.
pub fn options<'t>(arena: &Arena<'t>, text: &[u8]) -> Result<Options<'t>, Fault> {
    let mut mount = MountOptions::default();
    let (mut create, mut optional, mut relative, mut image, mut idmap) = (Create::No, false, false, false, None);
    let mut data = Line::<LINE_BYTES>::new();
    for word in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty()) {
        if let Some(flag) = FLAGS.iter().find(|flag| flag.name.as_bytes() == word) {
            mount.flags = mount.flags & !flag.clear | flag.set;
        } else if let Some((_, bits)) = PROPAGATION.iter().find(|(name, _)| name.as_bytes() == word) {
            mount.propagation = *bits;
        } else if let Some(kind) = word.strip_prefix(b"create=") {
            create = match kind {
                b"dir" => Create::Dir,
                b"file" => Create::File,
                _ => return Err(Fault::Expected("create=dir or create=file")),
            };
        } else if word == b"optional" {
            optional = true;
        } else if word == b"relative" {
            relative = true;
        } else if word == b"loop" {
            image = true;
        } else if let Some(whose) = word.strip_prefix(b"idmap=") {
            if whose != b"container" && !whose.starts_with(b"/") {
                return Err(Fault::Expected("idmap=container or idmap=/PATH/OF/A/USER/NAMESPACE"));
            }
            idmap = Some(arena.copy(whose)?);
        } else {
            if !data.bytes().is_empty() {
                data.push(b",");
            }
            data.push(word);
        }
    }
    if !data.bytes().is_empty() {
        mount.data = Some(arena.copy(data.bytes())?);
    }
    Ok(Options { mount, create, optional, relative, image, idmap })
}

/// Decodes `\040` and its like in an fstab field. An escape that gives NUL or no byte stays as it stands.
fn unescaped(field: &[u8]) -> Line<LINE_BYTES> {
    let mut text = Line::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after))
            }
            _ => None,
        };
        let (byte, after) = escaped.filter(|(byte, _)| *byte != 0).unwrap_or((*first, after));
        text.push(&[byte]);
        rest = after;
    }
    text
}

/// Reads one fstab line: SOURCE TARGET TYPE OPTIONS, the two numbers behind them do not count. A missing type is
/// `none`, missing options are `defaults`.
pub fn entry<'t>(arena: &Arena<'t>, line: &[u8], at: Origin) -> Result<MountEntry<'t>, Fault> {
    let mut fields = super::lex::words(line).map(unescaped);
    let (Some(source), Some(target)) = (fields.next(), fields.next()) else {
        return Err(Fault::Expected("SOURCE TARGET TYPE OPTIONS"));
    };
    let fstype = match fields.next() {
        Some(fstype) => arena.copy(fstype.bytes())?,
        None => c"none",
    };
    let options = options(arena, fields.next().unwrap_or_default().bytes())?;
    Ok(MountEntry {
        source: arena.copy(source.bytes())?,
        target: arena.copy(target.bytes())?,
        fstype,
        options: options.mount,
        create: options.create,
        optional: options.optional,
        relative: options.relative,
        image: options.image,
        idmap: options.idmap,
        text: arena.copy(line)?,
        at,
    })
}

/// Takes one word of `lxc.mount.auto` into `auto`. A later word of the same filesystem replaces the earlier one.
pub fn auto<'t>(arena: &Arena<'t>, auto: &mut MountAuto<'t>, word: &[u8]) -> Result<(), Fault> {
    const UNKNOWN: Fault = Fault::Expected(
        "proc[:mixed|:rw] sys[:mixed|:ro|:rw] cgroup[-full][:mixed|:ro|:rw][:force] shmounts:HOSTPATH[:PATH]",
    );
    match word {
        b"proc" | b"proc:mixed" => auto.proc = AutoProc::Mixed,
        b"proc:rw" => auto.proc = AutoProc::Rw,
        b"sys" | b"sys:mixed" => auto.sys = AutoSys::Mixed,
        b"sys:ro" => auto.sys = AutoSys::Ro,
        b"sys:rw" => auto.sys = AutoSys::Rw,
        _ => {
            if let Some(paths) = word.strip_prefix(b"shmounts:").filter(|paths| !paths.is_empty()) {
                auto.shmounts = Some(arena.copy(paths)?);
                return Ok(());
            }
            let rest = word.strip_prefix(b"cgroup").ok_or(UNKNOWN)?;
            let (full, rest) = match rest.strip_prefix(b"-full") {
                Some(rest) => (true, rest),
                None => (false, rest.strip_prefix(b"2").unwrap_or(rest)),
            };
            let (force, rest) = match rest.strip_suffix(b":force") {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            auto.cgroup_by_caps = rest.is_empty();
            let access = match rest {
                b"" | b":mixed" => CgroupAccess::Mixed,
                b":ro" => CgroupAccess::Ro,
                b":rw" => CgroupAccess::Rw,
                _ => return Err(UNKNOWN),
            };
            auto.cgroup = Some(AutoCgroup { access, full, force });
        }
    }
    Ok(())
}

/// Writes `auto` as its words.
impl fmt::Display for MountAuto<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proc = match self.proc {
            AutoProc::No => "",
            AutoProc::Mixed => "proc:mixed",
            AutoProc::Rw => "proc:rw",
        };
        let sys = match self.sys {
            AutoSys::No => "",
            AutoSys::Mixed => "sys:mixed",
            AutoSys::Ro => "sys:ro",
            AutoSys::Rw => "sys:rw",
        };
        let mut gap = "";
        for word in [proc, sys].into_iter().filter(|word| !word.is_empty()) {
            write!(f, "{gap}{word}")?;
            gap = " ";
        }
        if let Some(cgroup) = self.cgroup {
            let full = if cgroup.full { "-full" } else { "" };
            let access = match cgroup.access {
                _ if self.cgroup_by_caps => "",
                CgroupAccess::Mixed => ":mixed",
                CgroupAccess::Ro => ":ro",
                CgroupAccess::Rw => ":rw",
            };
            let force = if cgroup.force { ":force" } else { "" };
            write!(f, "{gap}cgroup{full}{access}{force}")?;
            gap = " ";
        }
        match self.shmounts {
            Some(paths) => write!(f, "{gap}shmounts:{}", shown(paths)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DEFAULT};

    fn read(line: &[u8], check: impl FnOnce(MountEntry<'_>)) {
        let mut storage = vec![0u8; 8192];
        check(entry(&Arena::new(&mut storage), line, DEFAULT).unwrap());
    }

    #[test]
    fn entry_bind_as_type_is_kept_as_written() {
        read(b"/dev/socket dev/socket bind bind,create=dir,optional 0 0", |entry| {
            assert_eq!((entry.source, entry.target, entry.fstype), (c"/dev/socket", c"dev/socket", c"bind"));
            assert_eq!(entry.options.flags, ms(libc::MS_BIND));
            assert_eq!(entry.options.data, None);
            assert_eq!(entry.create, Create::Dir);
            assert!(entry.optional && !entry.relative && entry.idmap.is_none());
        });
    }

    #[test]
    fn entry_unknown_options_become_data_in_order() {
        read(b"none dev/pts devpts defaults,mode=644,ptmxmode=666,nosuid,create=file", |entry| {
            assert_eq!(entry.options.data, Some(c"mode=644,ptmxmode=666"));
            assert_eq!(entry.options.flags, ms(libc::MS_NOSUID));
        });
    }

    #[test]
    fn entry_loop_is_an_image_and_nothing_for_the_kernel() {
        read(b"/vendor.img vendor ext4 loop,ro 0 0", |entry| {
            assert!(entry.image);
            assert_eq!((entry.options.flags, entry.options.data), (ms(libc::MS_RDONLY), None));
        });
    }

    #[test]
    fn entry_escapes_are_decoded_in_each_field() {
        read(br"/a\040b c\011d no\134ne x\000y=\1", |entry| {
            assert_eq!((entry.source, entry.target, entry.fstype), (c"/a b", c"c\td", c"no\\ne"));
            assert_eq!(entry.options.data, Some(c"x\\000y=\\1"));
        });
    }

    #[test]
    fn entry_missing_fields_have_defaults() {
        read(b"a b", |entry| assert_eq!((entry.fstype, entry.options), (c"none", MountOptions::default())));
        let mut storage = [0u8; 64];
        let arena = Arena::new(&mut storage);
        assert!(matches!(entry(&arena, b"a", DEFAULT), Err(Fault::Expected("SOURCE TARGET TYPE OPTIONS"))));
        assert!(matches!(entry(&arena, b"a b c create=x", DEFAULT), Err(Fault::Expected(_))));
    }

    #[test]
    fn options_later_word_wins_over_earlier() {
        let mut storage = [0u8; 64];
        let arena = Arena::new(&mut storage);
        let all = options(&arena, b"ro,nosuid,rw,rbind,shared,rslave,relative,idmap=container").unwrap();
        assert_eq!(all.mount.flags, ms(libc::MS_NOSUID | libc::MS_BIND | libc::MS_REC));
        assert_eq!(all.mount.propagation, ms(libc::MS_SLAVE | libc::MS_REC));
        assert!(all.relative && all.idmap == Some(c"container"));
        assert!(options(&arena, b"idmap=x").is_err());
    }

    #[test]
    fn auto_words_round_trip_and_others_are_refused() {
        let mut storage = [0u8; 256];
        let arena = Arena::new(&mut storage);
        for text in [
            "proc:mixed sys:ro cgroup:ro",
            "proc:rw sys:rw cgroup-full:rw:force",
            "sys:mixed cgroup",
            "cgroup-full:force shmounts:/a:/b",
        ] {
            let mut all = Config::new(c"", c"").mount_auto;
            for word in text.split(' ') {
                auto(&arena, &mut all, word.as_bytes()).unwrap();
            }
            assert_eq!(all.to_string(), text);
        }
        for bad in
            [&b"proc:ro"[..], b"shmounts", b"shmounts:", b"proc,sys", b"cgroup:", b"cgroupx", b"dev", b"cgroup-full2"]
        {
            let mut all = Config::new(c"", c"").mount_auto;
            assert!(auto(&arena, &mut all, bad).is_err());
        }
    }
}
