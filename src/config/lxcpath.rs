//! The system's config, and where containers are when nobody says. A user without root has both in his home, as LXC.

use crate::sys::process::first_euid;
use std::path::PathBuf;
use std::sync::OnceLock;

/// `lxc.lxcpath` of the system's config, else LXC's default.
pub fn default_lxcpath() -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    match lxc_conf("lxc.lxcpath") {
        Some(path) => path.into(),
        None => home(".local/share/lxc").unwrap_or("/var/lib/lxc".into()).into_os_string().into_vec(),
    }
}

/// The value of a key in the system's config, which is read once; None if it has none there.
pub fn lxc_conf(key: &str) -> Option<String> {
    static SYSTEM: OnceLock<String> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| {
        let file = home(".config/lxc/lxc.conf").unwrap_or("/etc/lxc/lxc.conf".into());
        std::fs::read_to_string(file).unwrap_or_default()
    });
    value_of(system, key).map(String::from)
}

/// A path in the home of a user without root; None: we are root.
fn home(path: &str) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map_or("/".into(), PathBuf::from);
    (first_euid() != 0).then(|| home().join(path))
}

/// The value of the last `KEY = VALUE` line.
pub fn value_of<'a>(system: &'a str, wanted: &str) -> Option<&'a str> {
    let pairs = system.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim_ascii() == wanted).map(|(_, value)| value.trim_ascii());
    values.rfind(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_the_last_line_is_taken() {
        assert_eq!(value_of("# lxc.lxcpath = /no\nlxc.lxcpath = /srv/lxc\n", "lxc.lxcpath"), Some("/srv/lxc"));
        assert_eq!(value_of("lxc.lxcpath=\nlxc.lxcpaths = /x", "lxc.lxcpath"), None);
    }
}
