//! What sets a container apart from its host: id maps, shared namespaces, clocks, labels, a seccomp policy, places of cgroups.

use super::keys::Given;
use super::values::{self, Fault};
use super::{At, List, Origin, lex};
use crate::limits;
use core::ffi::CStr;
use core::fmt;

/// `lxc.idmap`: a range of ids inside and what they are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// Group ids; else user ids.
    pub groups: bool,
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
    /// Where it stands.
    pub at: Origin,
}

impl IdMap {
    /// What an id inside is outside; None if it is not in this range.
    pub fn outside(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|offset| *offset < self.count)?;
        self.outside.checked_add(offset)
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.groups { 'g' } else { 'u' };
        write!(f, "{kind} {} {} {}", self.inside, self.outside, self.count)
    }
}

/// `lxc.namespace.share.NAME`
#[derive(Clone, Copy, Debug)]
pub struct Share<'t> {
    /// The CLONE_NEW* bit.
    pub namespace: u64,
    /// A container's name, a pid, or the path of a namespace's file.
    pub of: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Isolation<'t> {
    /// `lxc.idmap`; empty: no user namespace of its own.
    pub idmap: List<IdMap, { limits::ID_MAPS }>,
    /// `lxc.namespace.share.*`
    pub share: List<Share<'t>, 8>,
    /// `lxc.time.offset.boot`, in nanoseconds.
    pub time_boot: Option<i64>,
    /// `lxc.time.offset.monotonic`, in nanoseconds.
    pub time_monotonic: Option<i64>,
    /// `lxc.apparmor.profile`
    pub apparmor: Option<At<&'t CStr>>,
    /// `lxc.selinux.context`
    pub selinux: Option<At<&'t CStr>>,
    /// `lxc.selinux.context.keyring`
    pub selinux_keyring: Option<At<&'t CStr>>,
    /// `lxc.seccomp.profile`
    pub seccomp: Option<At<&'t CStr>>,
    /// `lxc.seccomp.allow_nesting`: the policy is loaded beside one that is already there.
    pub seccomp_nesting: Option<bool>,
    /// `lxc.seccomp.notify.proxy`
    pub seccomp_proxy: Option<At<&'t CStr>>,
    /// `lxc.seccomp.notify.cookie`
    pub seccomp_cookie: Option<&'t CStr>,
    /// `lxc.keyring.session`; init gets a session keyring of its own unless it is off.
    pub keyring_session: Option<bool>,
    /// `lxc.sched.core`
    pub sched_core: Option<bool>,
    /// `lxc.ephemeral`
    pub ephemeral: Option<bool>,
    /// `lxc.monitor.unshare`
    pub monitor_unshare: Option<bool>,
    /// `lxc.cgroup.dir`
    pub cgroup_dir: Option<At<&'t CStr>>,
    /// `lxc.cgroup.dir.monitor`
    pub cgroup_monitor: Option<At<&'t CStr>>,
    /// `lxc.cgroup.dir.monitor.pivot`
    pub cgroup_monitor_pivot: Option<At<&'t CStr>>,
    /// `lxc.cgroup.dir.container`
    pub cgroup_container: Option<At<&'t CStr>>,
    /// `lxc.cgroup.dir.container.inner`
    pub cgroup_inner: Option<At<&'t CStr>>,
    /// `lxc.cgroup.relative`
    pub cgroup_relative: Option<bool>,
}

impl Isolation<'_> {
    /// What an id of the container is on the host; None if it has none there. Without a map it is the same.
    pub fn outside(&self, groups: bool, id: u32) -> Option<u32> {
        if self.idmap.is_empty() {
            return Some(id);
        }
        self.idmap.iter().filter(|map| map.groups == groups).find_map(|map| map.outside(id))
    }
}

/// One line of `lxc.idmap`.
pub(super) fn idmap(given: &Given<'_, '_>) -> Result<IdMap, Fault> {
    const WANTED: Fault = Fault::Expected("u or g, then first id inside, first id outside, count");
    let mut words = lex::words(given.value);
    let groups = match words.next() {
        Some(b"u") => false,
        Some(b"g") => true,
        _ => return Err(WANTED),
    };
    let mut number = || values::whole32(words.next().ok_or(WANTED)?).map_err(|_| WANTED);
    let map = IdMap { groups, inside: number()?, outside: number()?, count: number()?, at: given.at };
    let fits = |first: u32| first.checked_add(map.count.wrapping_sub(1)).is_some_and(|last| last != u32::MAX);
    if words.next().is_some() || map.count == 0 || !fits(map.inside) || !fits(map.outside) {
        return Err(WANTED);
    }
    Ok(map)
}

/// Units of a time offset with their nanoseconds; none are seconds.
const UNITS: [(&[u8], i64); 7] = [
    (b"ns", 1),
    (b"us", 1_000),
    (b"ms", 1_000_000),
    (b"s", 1_000_000_000),
    (b"", 1_000_000_000),
    (b"m", 60_000_000_000),
    (b"h", 3_600_000_000_000),
];

/// `lxc.time.offset.*`: a number that may be negative and its unit; in nanoseconds.
pub(super) fn time_offset(value: &[u8]) -> Result<i64, Fault> {
    const WANTED: Fault = Fault::Expected("a time such as 10s, -5m or 1h");
    let (sign, value) = value.strip_prefix(b"-").map_or((1, value), |value| (-1, value));
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, unit) = value.split_at_checked(digits).unwrap_or_default();
    let unit = unit.trim_ascii();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or(WANTED)?.1;
    let number = i64::try_from(values::whole(digits).map_err(|_| WANTED)?).map_err(|_| WANTED)?;
    number.checked_mul(scale).map(|ns| ns * sign).ok_or(WANTED)
}

/// A time offset as it is written.
pub(super) struct Offset(pub i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offset(ns) = *self;
        match ns % 1_000_000_000 {
            0 => write!(f, "{}s", ns / 1_000_000_000),
            _ => write!(f, "{ns}ns"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_offset_is_in_nanoseconds_and_prints_again() {
        for (text, ns, again) in [
            ("10s", 10_000_000_000, "10s"),
            ("-5m", -300_000_000_000, "-300s"),
            ("1h", 3_600_000_000_000, "3600s"),
            ("7 ms", 7_000_000, "7000000ns"),
            ("3", 3_000_000_000, "3s"),
        ] {
            assert_eq!(time_offset(text.as_bytes()).unwrap(), ns);
            assert_eq!(Offset(ns).to_string(), again);
            assert_eq!(time_offset(again.as_bytes()).unwrap(), ns);
        }
        for text in ["", "x", "1d", "--1s", "9223372036854775807h"] {
            assert!(time_offset(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn outside_follows_the_maps() {
        let map = |groups, inside, outside, count| IdMap { groups, inside, outside, count, at: super::super::DEFAULT };
        let mut isolation = Isolation::default();
        assert_eq!(isolation.outside(false, 7), Some(7));
        isolation.idmap.push(map(false, 0, 100_000, 10)).unwrap();
        isolation.idmap.push(map(true, 5, 50, 1)).unwrap();
        assert_eq!(isolation.outside(false, 9), Some(100_009));
        assert_eq!(isolation.outside(false, 10), None);
        assert_eq!((isolation.outside(true, 5), isolation.outside(true, 0)), (Some(50), None));
    }
}
