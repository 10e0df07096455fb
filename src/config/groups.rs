//! Where the container's cgroups are inside a hierarchy: `lxc/NAME` unless config or system config say otherwise.
//!
//! The places are those of LXC 5: `lxc.cgroup.dir = D` is `D/lxc.payload.NAME`, `lxc.cgroup.dir.container` is the group itself,
//! `.inner` one below it, `lxc.cgroup.pattern = P` of the system's config is `P/payload` with the name for `%n`.

use super::{At, Config, Origin};
use crate::text::{Arena, Full};
use core::ffi::CStr;

/// Places below the base of a hierarchy, without a slash before them.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'t> {
    /// The container's group, which has the limits.
    pub limit: &'t CStr,
    /// init's group: the same, or one below it.
    pub container: &'t CStr,
    /// The supervisor's; None: it stays where it is.
    pub monitor: Option<&'t CStr>,
    /// Where the supervisor goes at the end; None: where it came from.
    pub pivot: Option<&'t CStr>,
    /// Nobody else has this place: the container's name is in it.
    pub own: bool,
    /// It is `lxc/NAME`.
    pub usual: bool,
}

/// Why a path is none of a group.
pub(super) const PLAIN: &str = "expected a path of cgroups such as my/group: relative, without . and ..";

/// Whether a path leads down only, by whole steps.
fn is_plain(path: &CStr) -> bool {
    path.to_bytes().split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// The same for a pattern, which may begin with a slash.
pub(super) fn is_pattern(pattern: &str) -> bool {
    pattern.trim_matches('/').split('/').all(|part| !matches!(part, "" | "." | ".."))
}

type Key<'t> = (&'static CStr, Option<At<&'t CStr>>);

fn keys<'t>(config: &Config<'t>) -> [Key<'t>; 5] {
    let set = &config.isolation;
    [
        (c"lxc.cgroup.dir", set.cgroup_dir),
        (c"lxc.cgroup.dir.monitor", set.cgroup_monitor),
        (c"lxc.cgroup.dir.monitor.pivot", set.cgroup_monitor_pivot),
        (c"lxc.cgroup.dir.container", set.cgroup_container),
        (c"lxc.cgroup.dir.container.inner", set.cgroup_inner),
    ]
}

/// What is wrong: which key, where it stands, why.
pub type Wrong = (&'static CStr, Origin, &'static str);

/// A path that is none of a group.
pub(super) fn no_path(config: &Config<'_>) -> Option<Wrong> {
    let inner = config.isolation.cgroup_inner.filter(|inner| inner.value.to_bytes().contains(&b'/'));
    let bad = |(key, value): Key<'_>| value.filter(|value| !is_plain(value.value)).map(|value| (key, value.at, PLAIN));
    let no_name = || inner.map(|inner| (c"lxc.cgroup.dir.container.inner", inner.at, "expected the name of one group"));
    keys(config).into_iter().find_map(bad).or_else(no_name)
}

/// Keys that do not go together. A start asks.
pub fn conflict(config: &Config<'_>) -> Option<Wrong> {
    let set = &config.isolation;
    let both = set.cgroup_monitor.is_some() && set.cgroup_container.is_some();
    let meets = |value: &CStr, other: Option<At<&CStr>>| other.is_some_and(|other| meet(value, other.value));
    keys(config).into_iter().find_map(|(key, value)| {
        let At { value, at } = value?;
        let why = match key.to_bytes() {
            b"lxc.cgroup.dir" if set.cgroup_monitor.is_none() && set.cgroup_container.is_none() => return None,
            b"lxc.cgroup.dir" => "cannot be used together with lxc.cgroup.dir.monitor or lxc.cgroup.dir.container",
            _ if !both => "lxc.cgroup.dir.monitor and lxc.cgroup.dir.container must both be set",
            b"lxc.cgroup.dir.container" if meets(value, set.cgroup_monitor) => {
                "it and lxc.cgroup.dir.monitor must not be inside of each other"
            }
            b"lxc.cgroup.dir.monitor.pivot"
                if meets(value, set.cgroup_monitor) || meets(value, set.cgroup_container) =>
            {
                "it and the other groups must not be inside of each other"
            }
            _ => return None,
        };
        Some((key, at, why))
    })
}

/// Whether one of two groups is the other, or inside of it.
fn meet(one: &CStr, other: &CStr) -> bool {
    let (one, other) = (one.to_bytes().split(|b| *b == b'/'), other.to_bytes().split(|b| *b == b'/'));
    one.zip(other).all(|(one, other)| one == other)
}

impl<'t> Groups<'t> {
    /// Of a container of which nothing is known but its name, before its config is read.
    pub(super) const NONE: Groups<'static> =
        Groups { limit: c"", container: c"", monitor: None, pivot: None, own: true, usual: true };

    /// By the config, else by `pattern`, else the usual ones.
    pub(super) fn of(config: &Config<'t>, pattern: Option<&str>, arena: &Arena<'t>) -> Result<Self, Full> {
        let set = &config.isolation;
        let name = config.name.to_bytes();
        let mut own = true;
        let limit = match (set.cgroup_container, set.cgroup_dir, pattern) {
            (Some(place), ..) => {
                own = false;
                place.value
            }
            (_, Some(place), _) => arena.join(&[place.value.to_bytes(), b"/lxc.payload.", name])?,
            (.., Some(pattern)) => {
                let pattern = pattern.trim_matches('/').as_bytes();
                let (before, after) = match crate::text::find(pattern, b"%n") {
                    Some(at) => pattern.split_at(at),
                    None => (pattern, &b""[..]),
                };
                own = !after.is_empty();
                let name = if own { name } else { b"" };
                arena.join(&[before, name, after.get(2..).unwrap_or_default(), b"/payload"])?
            }
            _ => arena.join(&[b"lxc/", name])?,
        };
        let container = match set.cgroup_inner {
            Some(inner) => arena.join(&[limit.to_bytes(), b"/", inner.value.to_bytes()])?,
            None => limit,
        };
        Ok(Groups {
            limit,
            container,
            monitor: set.cgroup_monitor.map(|place| place.value),
            pivot: set.cgroup_monitor_pivot.map(|place| place.value),
            own,
            usual: own && set.cgroup_dir.is_none() && pattern.is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT;

    fn at(value: &'static CStr) -> Option<At<&'static CStr>> {
        Some(At { value, at: DEFAULT })
    }

    fn of(config: &Config<'static>, pattern: Option<&str>) -> (String, String, bool, bool) {
        let arena = Arena::new(vec![0; 1024].leak());
        let groups = Groups::of(config, pattern, &arena).unwrap();
        let text = |c: &CStr| c.to_str().unwrap().to_owned();
        (text(groups.limit), text(groups.container), groups.own, groups.usual)
    }

    fn same(place: &str, own: bool, usual: bool) -> (String, String, bool, bool) {
        (place.into(), place.into(), own, usual)
    }

    #[test]
    fn places_are_those_of_the_config_then_of_the_pattern() {
        let mut config = Config::new(c"c1", c"/x");
        assert_eq!(of(&config, None), same("lxc/c1", true, true));
        assert_eq!(of(&config, Some("/foo/%n/bar")), same("foo/c1/bar/payload", true, false));
        assert_eq!(of(&config, Some("foo")), same("foo/payload", false, false));
        config.isolation.cgroup_dir = at(c"my/first");
        assert_eq!(of(&config, Some("%n")), same("my/first/lxc.payload.c1", true, false));
        config.isolation.cgroup_dir = None;
        config.isolation.cgroup_container = at(c"pay/x");
        config.isolation.cgroup_inner = at(c"in");
        assert_eq!(of(&config, None), ("pay/x".into(), "pay/x/in".into(), false, false));
    }

    #[test]
    fn places_that_make_no_sense_are_refused_by_key() {
        let mut config = Config::new(c"c1", c"/x");
        let key = |config: &Config<'_>| {
            no_path(config).or(conflict(config)).map(|(key, ..)| key.to_str().unwrap().to_owned())
        };
        for bad in [c"/abs", c"a/../b", c"", c"a//b", c".", c"a/"] {
            config.isolation.cgroup_dir = at(bad);
            assert_eq!(key(&config).as_deref(), Some("lxc.cgroup.dir"), "{bad:?}");
        }
        config.isolation.cgroup_dir = at(c"a/..b");
        assert_eq!(key(&config), None);
        config.isolation.cgroup_monitor = at(c"mon");
        assert_eq!(key(&config).as_deref(), Some("lxc.cgroup.dir"));
        config.isolation.cgroup_dir = None;
        assert_eq!(key(&config).as_deref(), Some("lxc.cgroup.dir.monitor"));
        config.isolation.cgroup_container = at(c"mon/x");
        assert_eq!(key(&config).as_deref(), Some("lxc.cgroup.dir.container"));
        config.isolation.cgroup_container = at(c"monx");
        assert_eq!(key(&config), None);
        config.isolation.cgroup_monitor_pivot = at(c"monx/y");
        assert_eq!(key(&config).as_deref(), Some("lxc.cgroup.dir.monitor.pivot"));
    }
}
