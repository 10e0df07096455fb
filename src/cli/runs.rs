//! Which containers run: those whose command socket is bound, of whichever supervisor.

use core::ffi::CStr;
use std::ffi::CString;

/// The names of the running containers of `lxcpath`, sorted. A name that is so long that LXC hashes its address is not found.
pub fn names(lxcpath: &CStr) -> Vec<CString> {
    let table = std::fs::read("/proc/net/unix").unwrap_or_default();
    let mut names: Vec<CString> = table.split(|byte| *byte == b'\n').filter_map(|line| name(line, lxcpath)).collect();
    names.sort();
    names.dedup();
    names
}

/// The name of a container whose listening socket a line of /proc/net/unix shows (`@LXCPATH/NAME/command`).
fn name(line: &[u8], lxcpath: &CStr) -> Option<CString> {
    let at = memchr::memmem::find(line, b" @")?;
    let path = line.get(at + 2..)?;
    let name = path.strip_prefix(lxcpath.to_bytes())?.strip_prefix(b"/")?.strip_suffix(b"/command")?;
    let fits = !name.is_empty() && !name.contains(&b'/');
    fits.then(|| CString::new(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_of_another_lxcpath_or_deeper_is_no_container() {
        let line = |path: &str| {
            name(format!("0000000: 00000002 00000000 00010000 0001 01 4711 @{path}").as_bytes(), c"/var/lib/lxc")
        };
        assert_eq!(line("/var/lib/lxc/android/command"), Some(c"android".to_owned()));
        assert_eq!(line("/var/lib/lxc/a/b/command"), None);
        assert_eq!(line("/other/android/command"), None);
        assert_eq!(line("/var/lib/lxc//command"), None);
        assert_eq!(line("lxc/0123456789abcdef/command"), None);
    }
}
