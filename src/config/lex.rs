//! Cuts a config file into lines and a line into `key = value`, by LXC's rules.
//!
//! Blanks at both ends do not count, `#` opens a comment only as the first character of a line, and one pair of quotes
//! round a value is taken off. A line that starts with neither `lxc.` nor `monopod.` is no setting and is passed over
//! in silence: LXC does so, and real configs carry such lines.

use super::values::Fault;
use crate::limits::LINE_BYTES;

/// A setting as it stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// What stands before `=`, without blanks round it.
    pub key: &'a [u8],
    /// What stands after it, without blanks round it and without its quotes.
    pub value: &'a [u8],
}

/// A line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It holds a NUL byte.
    Nul,
    /// It is longer than `limits::LINE_BYTES`.
    TooLong,
    /// It starts like a setting and has no `=`.
    NoEquals,
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Broken::Nul => f.write_str("the line holds a NUL byte"),
            Broken::TooLong => write!(f, "the line is longer than {LINE_BYTES} bytes (limits::LINE_BYTES)"),
            Broken::NoEquals => f.write_str("expected key = value, there is no ="),
        }
    }
}

/// The lines of a file with their numbers from 1, line ends taken off.
pub struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: u32,
}

/// The lines of `text`. A byte order mark at its start does not count.
pub fn lines(text: &[u8]) -> Lines<'_> {
    Lines { rest: Some(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)), number: 0 }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let line = match memchr::memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
            Some((line, after)) => {
                self.rest = after.split_first().map(|(_newline, rest)| rest);
                line
            }
            None if rest.is_empty() => return None,
            None => rest,
        };
        self.number = self.number.saturating_add(1);
        Some((self.number, line))
    }
}

/// A line without the blanks round it, if it is short enough and holds no NUL.
pub fn sound(line: &[u8]) -> Result<&[u8], Broken> {
    if line.len() > LINE_BYTES {
        Err(Broken::TooLong)
    } else if memchr::memchr(0, line).is_some() {
        Err(Broken::Nul)
    } else {
        Ok(line.trim_ascii())
    }
}

/// The setting in a line; None for an empty line, a comment, or a line that is no setting at all.
pub fn setting(line: &[u8]) -> Result<Option<Pair<'_>>, Broken> {
    let line = sound(line)?;
    if line.starts_with(b"lxc.") || line.starts_with(b"monopod.") { pair(line).map(Some) } else { Ok(None) }
}

/// Splits `key = value` at its first `=`.
pub fn pair(text: &[u8]) -> Result<Pair<'_>, Broken> {
    let equals = memchr::memchr(b'=', text).ok_or(Broken::NoEquals)?;
    let (key, value) = text.split_at_checked(equals).ok_or(Broken::NoEquals)?;
    let value = value.strip_prefix(b"=").unwrap_or(value);
    Ok(Pair { key: key.trim_ascii(), value: unquoted(value.trim_ascii()) })
}

/// Whether a text stands between two equal quotes.
pub fn is_quoted(text: &[u8]) -> bool {
    matches!(text, [b'"', .., b'"'] | [b'\'', .., b'\''])
}

/// Takes one pair of equal quotes off.
fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [_, inner @ .., _] if is_quoted(text) => inner,
        _ => text,
    }
}

/// The words of a value: what stands between blanks.
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Calls `each` with every word of a command line. A word that starts with a quote ends at the next such quote and may
/// hold blanks; quotes inside a word are part of it. LXC splits `lxc.init.cmd` so.
pub fn command(text: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut rest = text.trim_ascii_start();
    while let Some((first, after)) = rest.split_first() {
        let (word, next) = if matches!(first, b'"' | b'\'') {
            let end = memchr::memchr(*first, after).and_then(|end| after.split_at_checked(end));
            let (word, next) = end.ok_or(Fault::Expected("a closing quote"))?;
            (word, next.get(1..).unwrap_or_default())
        } else {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            rest.split_at_checked(end).unwrap_or((rest, b""))
        };
        each(word)?;
        rest = next.trim_ascii_start();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &[u8]) -> &[u8] {
        setting(line).unwrap().unwrap().value
    }

    #[test]
    fn lines_last_without_newline_is_a_line() {
        let all: std::vec::Vec<_> = lines(b"a\n\nb").collect();
        assert_eq!(all, [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        assert_eq!(lines(b"a\n").count(), 1);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn lines_byte_order_mark_is_dropped() {
        assert_eq!(lines(b"\xef\xbb\xbflxc.arch = x86").next(), Some((1, &b"lxc.arch = x86"[..])));
    }

    #[test]
    fn setting_blanks_and_carriage_return_are_trimmed() {
        let pair = setting(b" \tlxc.tty.max  =\t4 \r").unwrap().unwrap();
        assert_eq!(pair, Pair { key: b"lxc.tty.max", value: b"4" });
        assert_eq!(value(b"lxc.arch=x86"), b"x86");
    }

    #[test]
    fn setting_quotes_one_equal_pair_is_stripped() {
        assert_eq!(value(b"lxc.a = \"veth\""), b"veth");
        assert_eq!(value(b"lxc.a = ' 4 '"), b" 4 ");
        assert_eq!(value(b"lxc.a = \"\"a\"\""), b"\"a\"");
        assert_eq!(value(b"lxc.a = \"a'"), b"\"a'");
        assert_eq!(value(b"lxc.a = \""), b"\"");
        assert_eq!(value(b"lxc.a = \"\""), b"");
    }

    #[test]
    fn setting_hash_inside_a_value_is_kept() {
        assert_eq!(value(b"lxc.a = x # y"), b"x # y");
        assert_eq!(setting(b"  # lxc.a = x"), Ok(None));
        assert_eq!(setting(b"####lxc.a = x"), Ok(None));
    }

    #[test]
    fn setting_other_text_is_no_setting() {
        for line in [&b""[..], b"lcx.arch = x86", b"LXC.arch = x", b"lxc = 3", b"include x", b"\xff\xfe"] {
            assert_eq!(setting(line), Ok(None));
        }
    }

    #[test]
    fn setting_broken_lines_are_refused() {
        assert_eq!(setting(b"lxc.arch"), Err(Broken::NoEquals));
        assert_eq!(setting(b"monopod.x"), Err(Broken::NoEquals));
        assert_eq!(setting(b"# a\0b"), Err(Broken::Nul));
        assert_eq!(setting(&[b' '; LINE_BYTES + 1]), Err(Broken::TooLong));
        assert_eq!(setting(&[b' '; LINE_BYTES]), Ok(None));
    }
}
