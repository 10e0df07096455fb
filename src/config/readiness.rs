//! The conditions of `monopod.ready`: when a guest is ready. Pure.

use super::values::Fault;
use crate::limits;
use crate::text::Shown;
use core::fmt;

/// One thing that must come true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'t> {
    /// `coldboot`: Android's devices are there: the file /dev/.coldboot_done (until 10) or the property
    /// ro.cold_boot_done=true (from 11 on).
    Coldboot,
    /// `file:/PATH`: something is there.
    File(&'t [u8]),
    /// `socket:/PATH`: a socket is there. `property_service` is that of Android's init.
    Socket(&'t [u8]),
    /// `property:NAME`, `property:NAME=VALUE`: an Android property has this value, or any. `boot_completed` is
    /// sys.boot_completed=1.
    Property(&'t [u8], Option<&'t [u8]>),
}

impl<'t> Condition<'t> {
    /// The file of `coldboot`.
    pub const COLDBOOT_FILE: &'static [u8] = b"/dev/.coldboot_done";

    /// Reads a word.
    pub fn parse(word: &'t [u8]) -> Option<Self> {
        let (kind, name) = match word {
            b"coldboot" => return Some(Condition::Coldboot),
            b"property_service" => return Some(Condition::Socket(b"/dev/socket/property_service")),
            b"boot_completed" => return Some(Condition::Property(b"sys.boot_completed", Some(b"1"))),
            _ => cut(word, b':'),
        };
        let name = name?;
        match kind {
            b"file" if is_path(name) => Some(Condition::File(name)),
            b"socket" if is_path(name) => Some(Condition::Socket(name)),
            b"property" => {
                let (name, value) = cut(name, b'=');
                (!name.is_empty()).then_some(Condition::Property(name, value))
            }
            _ => None,
        }
    }

    /// The path that shows it.
    pub fn path(&self) -> Option<&'t [u8]> {
        match self {
            Condition::Coldboot => Some(Condition::COLDBOOT_FILE),
            Condition::File(path) | Condition::Socket(path) => Some(path),
            Condition::Property(..) => None,
        }
    }

    /// The property that shows it, and its value.
    pub fn property(&self) -> Option<(&'t [u8], Option<&'t [u8]>)> {
        match self {
            Condition::Coldboot => Some((b"ro.cold_boot_done", Some(b"true"))),
            Condition::Property(name, value) => Some((name, *value)),
            Condition::File(_) | Condition::Socket(_) => None,
        }
    }
}

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, value) = match self {
            Condition::Coldboot => ("coldboot", &b""[..], None),
            Condition::File(path) => ("file ", *path, None),
            Condition::Socket(path) => ("socket ", *path, None),
            Condition::Property(name, value) => ("property ", *name, *value),
        };
        write!(f, "{kind}{}", Shown(name))?;
        match value {
            Some(value) => write!(f, "={}", Shown(value)),
            None => Ok(()),
        }
    }
}

/// What stands before the first `at`, and behind it if there is one.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(place) => (text.get(..place).unwrap_or(text), text.get(place + 1..)),
        None => (text, None),
    }
}

/// An absolute path without `..`.
fn is_path(path: &[u8]) -> bool {
    path.starts_with(b"/") && path.len() < 512 && !path.split(|byte| *byte == b'/').any(|name| name == b"..")
}

/// The words of a list of conditions.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The conditions of a list that `check` has passed, in its order.
pub fn conditions(text: &[u8]) -> impl Iterator<Item = Condition<'_>> {
    words(text).filter_map(Condition::parse)
}

/// Whether `text` is a list of conditions, or `none`.
pub fn check(text: &[u8]) -> Result<(), Fault> {
    if text == b"none" {
        return Ok(());
    }
    if let Some(word) = words(text).find(|word| Condition::parse(word).is_none()) {
        return Err(Fault::said(format_args!(
            "{}: none of coldboot, property_service, boot_completed, property:NAME[=VALUE], file:/PATH, socket:/PATH",
            Shown(word)
        )));
    }
    if words(text).count() > limits::CONDITIONS {
        return Err(Fault::Full(&("conditions", limits::CONDITIONS, "CONDITIONS")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_every_form_is_read_in_order_and_shown() {
        let text =
            b"coldboot  property_service\tboot_completed property:init.svc.x=running property:a file:/x/y socket:/s \
            property:b=";
        let shown: Vec<String> = conditions(text).map(|condition| condition.to_string()).collect();
        assert_eq!(
            shown,
            [
                "coldboot",
                "socket /dev/socket/property_service",
                "property sys.boot_completed=1",
                "property init.svc.x=running",
                "property a",
                "file /x/y",
                "socket /s",
                "property b=",
            ]
        );
        assert!(check(text).is_ok() && check(b"none").is_ok());
    }

    #[test]
    fn check_unknown_words_bad_paths_and_too_many_are_refused() {
        for bad in
            ["booted", "file:x", "file:/a/../b", "socket:", "property:", "property:=x", "none coldboot", "Coldboot"]
        {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check("coldboot ".repeat(limits::CONDITIONS).as_bytes()).is_ok());
        assert!(check("coldboot ".repeat(limits::CONDITIONS + 1).as_bytes()).is_err());
    }
}
