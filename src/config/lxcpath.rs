//! Where containers are when nobody says.

/// `lxc.lxcpath` of the system's config, else LXC's default.
pub fn default_lxcpath() -> Vec<u8> {
    let system = std::fs::read_to_string("/etc/lxc/lxc.conf").unwrap_or_default();
    lxcpath_of(&system).unwrap_or("/var/lib/lxc").into()
}

/// The value of the last `lxc.lxcpath = PATH` line.
fn lxcpath_of(system: &str) -> Option<&str> {
    let pairs = system.lines().filter_map(|line| line.split_once('='));
    let mut values = pairs.filter(|(key, _)| key.trim_ascii() == "lxc.lxcpath").map(|(_, value)| value.trim_ascii());
    values.rfind(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lxcpath_of_the_system_config_is_taken() {
        assert_eq!(lxcpath_of("# lxc.lxcpath = /no\nlxc.lxcpath = /srv/lxc\n"), Some("/srv/lxc"));
        assert_eq!(lxcpath_of("lxc.lxcpath=\nlxc.lxcpaths = /x"), None);
    }
}
