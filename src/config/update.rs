//! A config in today's vocabulary, line by line: what `lxc-update-config` makes of one.
//!
//! Only keys change: blanks, values, comments and the order stay. A setting that is commented out is rewritten as well, so
//! that it still means the same when somebody takes the `#` away; prose is left alone. The names are those of `keys`.

use super::keys::{self, Kind};
use super::lex;

/// A rewritten config.
pub struct Updated {
    /// The new text.
    pub text: Vec<u8>,
    /// Lines that are not what they were, those that are gone included.
    pub changed: usize,
}

/// A line that is a setting, maybe commented out.
struct Setting<'a> {
    /// Blanks and `#`s.
    before: &'a [u8],
    key: &'a [u8],
    /// From the end of the key: blanks, `=`, blanks.
    equals: &'a [u8],
    /// The rest of the line, its end included.
    value: &'a [u8],
}

/// Rewrites a whole file.
pub fn update(text: &[u8]) -> Updated {
    let mut updated = Updated { text: Vec::with_capacity(text.len() + 256), changed: 0 };
    let driver = backend(text);
    // Old files have no numbers: each `type` opens the next link. LXC's script counts one that is commented out, too.
    let mut link = None::<u32>;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let found = setting(line).and_then(|setting| Some((keys::find(setting.key)?, setting)));
        let Some(((row, sub, old), setting)) = found.filter(|((row, _, old), _)| *old || is_gone(&row.kind)) else {
            updated.text.extend_from_slice(line);
            continue;
        };
        updated.changed += 1;
        if !old {
            continue;
        }
        let mut put = |part: &[u8]| updated.text.extend_from_slice(part);
        put(setting.before);
        put(row.name.to_bytes());
        let (mut sub, mut after) = (sub, &b""[..]);
        if matches!(row.kind, Kind::Links) && !sub.is_empty() {
            if sub == b"type" {
                link = Some(link.map_or(0, |link| link + 1));
            }
            if !sub.first().is_some_and(u8::is_ascii_digit) {
                put(format!(".{}", link.unwrap_or(0)).as_bytes());
            }
            if sub.ends_with(b"ipv4") || sub.ends_with(b"ipv6") {
                after = b".address";
            }
        }
        if !sub.is_empty() {
            put(b".");
            put(core::mem::take(&mut sub));
            put(after);
        }
        put(setting.equals);
        let rootfs = row.name == c"lxc.rootfs.path";
        let (quote, path) = match setting.value {
            [quote @ (b'"' | b'\''), path @ ..] => (core::slice::from_ref(quote), path),
            path => (&b""[..], path),
        };
        if rootfs && wants_driver(path) {
            put(quote);
            put(driver);
            put(b":");
            put(path);
        } else {
            put(setting.value);
        }
    }
    updated
}

/// A key without effect, which today's LXC would refuse.
fn is_gone(kind: &Kind) -> bool {
    matches!(kind, Kind::Ignored)
}

/// Takes a line apart; None: it is no setting, not even one that is commented out.
fn setting(line: &[u8]) -> Option<Setting<'_>> {
    let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'#'))?;
    let (before, rest) = line.split_at_checked(start)?;
    let (key, _) = rest.split_at_checked(memchr::memchr(b'=', rest)?)?;
    let key = key.trim_ascii_end();
    if !key.starts_with(b"lxc.") || key.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let (_, behind) = rest.split_at_checked(key.len())?;
    let blanks = |text: &[u8]| text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let sign = blanks(behind) + 1;
    let (equals, value) = behind.split_at_checked(sign + blanks(behind.get(sign..)?))?;
    Some(Setting { before, key, equals, value })
}

/// The storage driver that `lxc.rootfs.backend` names: today it stands before the path. LXC's script looks for it in the
/// last line only.
fn backend(text: &[u8]) -> &[u8] {
    let pairs = lex::lines(text).filter_map(|(_, line)| lex::setting(line).ok().flatten());
    let named = pairs.filter(|pair| pair.key == b"lxc.rootfs.backend" && !pair.value.is_empty()).last();
    // `best` left the choice to LXC.
    named.map(|pair| pair.value).filter(|driver| *driver != b"best").unwrap_or(b"dir")
}

/// Whether a driver belongs before a path: not before one that has its own, nor before a device, which is no directory.
fn wants_driver(path: &[u8]) -> bool {
    let path = path.trim_ascii_end();
    let named = memchr::memchr2(b':', b'/', path).is_some_and(|at| path.get(at) == Some(&b':'));
    !path.is_empty() && !named && !path.starts_with(b"/dev/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str) {
        let updated = update(old.as_bytes());
        assert_eq!(String::from_utf8(updated.text).unwrap(), new);
        assert_eq!(updated.changed > 0, old != new);
        let again = update(new.as_bytes());
        assert_eq!((again.text.as_slice(), again.changed), (new.as_bytes(), 0), "a second time");
    }

    #[test]
    fn update_every_old_name_becomes_its_row() {
        for row in keys::TABLE.iter().filter(|row| !matches!(row.kind, Kind::Links)) {
            let member = if row.is_family() { ".x" } else { "" };
            for old in row.old.iter().filter(|old| **old != "lxc.rootfs") {
                check(&format!("{old}{member} = v\n"), &format!("{}{member} = v\n", row.name.to_str().unwrap()));
            }
        }
    }

    #[test]
    fn update_blanks_comments_and_ends_are_kept() {
        check("  lxc.tty=4\r\n", "  lxc.tty.max=4\r\n");
        check("\tlxc.pts\t =  1024", "\tlxc.pty.max\t =  1024");
        check("# lxc.utsname is the name\n#lxc.utsname = a\n", "# lxc.utsname is the name\n#lxc.uts.name = a\n");
        check(
            "lxc.tty.max = 4\nlxc.environment = A=lxc.tty = 1\n\nlxc.tty\n",
            "lxc.tty.max = 4\nlxc.environment = A=lxc.tty = 1\n\nlxc.tty\n",
        );
    }

    #[test]
    fn update_links_are_counted_and_addresses_renamed() {
        check(
            "lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.ipv4 = 10.0.3.2/24\n\
             lxc.network.ipv4.gateway = auto\nlxc.network.type = empty\nlxc.network.ipv6 = fd00::2\n",
            "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.ipv4.address = 10.0.3.2/24\n\
             lxc.net.0.ipv4.gateway = auto\nlxc.net.1.type = empty\nlxc.net.1.ipv6.address = fd00::2\n",
        );
        check(
            "lxc.network.3.ipv4 = 10.0.3.2\nlxc.network.12.mtu = 9\n",
            "lxc.net.3.ipv4.address = 10.0.3.2\nlxc.net.12.mtu = 9\n",
        );
        check("lxc.network =\n", "lxc.net =\n");
    }

    #[test]
    fn update_rootfs_gets_its_driver_before_the_path() {
        check("lxc.rootfs = /srv/a\n", "lxc.rootfs.path = dir:/srv/a\n");
        check(
            "lxc.rootfs = /a\nlxc.rootfs.backend = lvm\nlxc.arch = arm\n",
            "lxc.rootfs.path = lvm:/a\nlxc.arch = arm\n",
        );
        check("lxc.rootfs = \"/a b\"\n", "lxc.rootfs.path = \"dir:/a b\"\n");
        for same in ["overlay:/a:/b", "/dev/mmcblk0p2", "", "\"loop:/a\""] {
            check(&format!("lxc.rootfs = {same}\n"), &format!("lxc.rootfs.path = {same}\n"));
        }
    }

    #[test]
    fn update_keys_without_effect_are_removed() {
        check("lxc.kmsg = 0\n#lxc.pivotdir = x\nlxc.arch = x86\nlxc.tty.min = 1\n", "lxc.arch = x86\n");
        check("# lxc.kmsg was removed\n", "# lxc.kmsg was removed\n");
    }
}
