//! The system's config, and where containers are when nobody says.

/// `lxc.lxcpath` of the system's config, else LXC's default.
pub fn default_lxcpath() -> Vec<u8> {
    lxc_conf("lxc.lxcpath").unwrap_or("/var/lib/lxc".into()).into()
}

/// The value of a key in the system's config; None if it has none there.
pub fn lxc_conf(key: &str) -> Option<String> {
    let system = std::fs::read_to_string("/etc/lxc/lxc.conf").unwrap_or_default();
    value_of(&system, key).map(String::from)
}

/// The value of the last `KEY = VALUE` line.
fn value_of<'a>(system: &'a str, wanted: &str) -> Option<&'a str> {
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
