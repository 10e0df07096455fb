//! Which containers there are: defined by a directory with a config, active by a command socket.

use super::Target;
use crate::control::proto;
use crate::error::Error;
use crate::files;
use crate::text::PathText;
use core::ffi::CStr;
use std::ffi::CString;

/// What `LXCPATH` has: directories with a file `config`, in the order of their bytes. Hidden ones do not count.
pub fn defined(lxcpath: &CStr) -> Vec<CString> {
    let has_config = |name: &CString| {
        let config = PathText::join(&[lxcpath.to_bytes(), b"/", name.to_bytes(), b"/config"]);
        config.is_ok_and(|config| nix::sys::stat::stat(config.c()).is_ok())
    };
    let mut found = files::names(lxcpath).unwrap_or_default();
    found.retain(|name| !name.to_bytes().starts_with(b".") && has_config(name));
    found
}

/// Those that have a command socket, in the order of their bytes. `defined` is needed for names that are too long for an
/// address: their sockets are known by a hash only.
pub fn active(lxcpath: &CStr, defined: &[CString]) -> Vec<CString> {
    active_in("/proc/net/unix", lxcpath, defined)
}

/// The same by another network namespace's table of sockets.
pub fn active_in(table: &str, lxcpath: &CStr, defined: &[CString]) -> Vec<CString> {
    let sockets = files::read_at(format_args!("{table}")).unwrap_or_default();
    let mut found = Vec::new();
    for line in sockets.split(|b| *b == b'\n') {
        let Some(address) = crate::text::find(line, b" @").and_then(|at| line.get(at + 2..)) else { continue };
        let plain = named(address, lxcpath.to_bytes()).map(|name| CString::new(name).unwrap_or_default());
        let is_of = |name: &&CString| proto::address(lxcpath.to_bytes(), name.to_bytes()) == address;
        if let Some(name) = plain.or_else(|| defined.iter().find(is_of).cloned()) {
            add(&mut found, name);
        }
    }
    found
}

/// Puts a name in its place, once.
pub fn add(names: &mut Vec<CString>, name: CString) {
    let place = names.iter().take_while(|other| **other < name).count();
    if names.get(place) != Some(&name) {
        names.insert(place, name);
    }
}

/// NAME of `LXCPATH/NAME/command`.
fn named<'a>(address: &'a [u8], lxcpath: &[u8]) -> Option<&'a [u8]> {
    let name = address.strip_prefix(lxcpath)?.strip_prefix(b"/")?.strip_suffix(b"/command")?;
    Some(name).filter(|name| !name.is_empty() && !name.contains(&b'/'))
}

/// The values of some keys in a container's config file, empty for those that have none.
pub fn items<const N: usize>(target: &Target<'_>, keys: [&CStr; N]) -> Result<[String; N], Error> {
    let mut values = [const { String::new() }; N];
    super::with_config(target, &[], &mut |config, _| {
        for (key, value) in keys.iter().zip(&mut values) {
            let _ = crate::config::get(config, key.to_bytes(), value);
        }
    })?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_gives_the_name_only_below_its_lxcpath() {
        assert_eq!(named(b"/var/lib/lxc/a b/command", b"/var/lib/lxc"), Some(&b"a b"[..]));
        for other in [&b"/var/lib/lxc/a/b/command"[..], b"/var/lib/lxc//command", b"/var/lib/lxcx/a/command", b"x"] {
            assert_eq!(named(other, b"/var/lib/lxc"), None);
        }
    }
}
