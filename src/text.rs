//! Text without a heap: an arena for C strings that live as long as the run, and a line that truncates instead of failing.
//!
//! Pure: no system call. Everything that a system call will need (paths, argv, environment) is made here as `&CStr`
//! once, so that neither the supervisor nor the child has to build it later.

use crate::limits::{BUILT_PATH_BYTES, PATH_BYTES};
use core::cell::Cell;
use core::ffi::CStr;
use core::fmt;

/// The arena is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Hands out C strings from one fixed buffer. What it hands out lives as long as the buffer (`'t`); nothing is freed.
pub struct Arena<'t> {
    rest: Cell<&'t mut [u8]>,
}

impl<'t> Arena<'t> {
    /// An arena over `storage`.
    pub fn new(storage: &'t mut [u8]) -> Self {
        Arena { rest: Cell::new(storage) }
    }

    /// Bytes that are still free.
    pub fn free(&self) -> usize {
        let rest = self.rest.take();
        let n = rest.len();
        self.rest.set(rest);
        n
    }

    /// Copies the concatenation of `parts` into the arena. A NUL inside ends the string there, as it would for the kernel.
    pub fn join(&self, parts: &[&[u8]]) -> Result<&'t CStr, Full> {
        let wanted: usize = parts.iter().map(|p| p.len()).sum::<usize>() + 1;
        let rest = self.rest.take();
        if wanted > rest.len() {
            self.rest.set(rest);
            return Err(Full);
        }
        let (mine, rest) = rest.split_at_mut(wanted);
        self.rest.set(rest);
        let mut at = 0;
        for part in parts {
            if let Some(space) = mine.get_mut(at..at + part.len()) {
                space.copy_from_slice(part);
            }
            at += part.len();
        }
        if let Some(last) = mine.get_mut(at) {
            *last = 0;
        }
        CStr::from_bytes_until_nul(mine).map_err(|_| Full)
    }

    /// Copies one string into the arena.
    pub fn copy(&self, text: &[u8]) -> Result<&'t CStr, Full> {
        self.join(&[text])
    }

    /// Formats into the arena (by way of a `PATH_BYTES` line; longer text is an error, not cut).
    pub fn format(&self, args: fmt::Arguments<'_>) -> Result<&'t CStr, Full> {
        let mut line = Line::<PATH_BYTES>::new();
        let _ = fmt::Write::write_fmt(&mut line, args);
        if line.truncated() { Err(Full) } else { self.copy(line.bytes()) }
    }
}

/// A line of at most `N` bytes. What does not fit is cut off and remembered, never an error: a log line cut short is
/// better than none.
#[derive(Clone)]
pub struct Line<const N: usize> {
    bytes: heapless::Vec<u8, N>,
    truncated: bool,
}

impl<const N: usize> Line<N> {
    /// An empty line.
    pub const fn new() -> Self {
        Line { bytes: heapless::Vec::new(), truncated: false }
    }

    /// Appends raw bytes, as many as fit.
    pub fn push(&mut self, more: &[u8]) {
        self.view().push(more);
    }

    fn view(&mut self) -> LineView<'_> {
        LineView { bytes: &mut self.bytes, truncated: &mut self.truncated }
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text so far; bytes after the first that is not UTF-8 are left out.
    pub fn text(&self) -> &str {
        valid(&self.bytes)
    }

    /// Whether something was cut off.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Empties the line.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.truncated = false;
    }
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for Line<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.view().write_str(s)
    }

    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        fmt::write(&mut self.view(), text)
    }
}

/// A line of whatever size: what is written to lines is written here, so that the code is there once.
struct LineView<'l> {
    bytes: &'l mut heapless::VecView<u8>,
    truncated: &'l mut bool,
}

impl LineView<'_> {
    #[inline(never)]
    fn push(&mut self, more: &[u8]) {
        let room = self.bytes.capacity() - self.bytes.len();
        let fits = more.get(..more.len().min(room)).unwrap_or(more);
        *self.truncated |= fits.len() < more.len();
        let _ = self.bytes.extend_from_slice(fits);
    }
}

impl fmt::Write for LineView<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// The text before the first byte that is not UTF-8.
#[inline(never)]
fn valid(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => bytes.get(..e.valid_up_to()).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or(""),
    }
}

impl<const N: usize> fmt::Display for Line<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<const N: usize> fmt::Debug for Line<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A path built on the stack, in place, for the calls of one moment (the child has no other memory).
///
/// Small by default: a frame that holds one touches every page of it, and in the child each of these is a copy.
#[derive(Clone)]
pub struct PathText<const N: usize = BUILT_PATH_BYTES> {
    bytes: heapless::Vec<u8, N>,
}

/// The path does not fit, or holds a NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl<const N: usize> PathText<N> {
    /// Joins `parts` as they are, without adding slashes.
    pub fn of(parts: &[&[u8]]) -> Result<Self, TooLong> {
        let mut path = PathText { bytes: heapless::Vec::new() };
        for part in parts {
            path.push(part)?;
        }
        Ok(path)
    }

    /// Appends bytes to the path.
    pub fn push(&mut self, part: &[u8]) -> Result<(), TooLong> {
        push_part(&mut self.bytes, part)
    }

    /// The path for a system call.
    pub fn c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// Appends a part of a path, and the NUL behind it.
#[inline(never)]
fn push_part(path: &mut heapless::VecView<u8>, part: &[u8]) -> Result<(), TooLong> {
    let length = path.len() - usize::from(path.last() == Some(&0));
    if memchr::memchr(0, part).is_some() || length + part.len() >= path.capacity() {
        return Err(TooLong);
    }
    path.truncate(length);
    path.extend_from_slice(part).map_err(|_| TooLong)?;
    path.push(0).map_err(|_| TooLong)
}

impl PathText {
    /// `of`, of the usual size.
    pub fn join(parts: &[&[u8]]) -> Result<Self, TooLong> {
        Self::of(parts)
    }

    /// Formats into a path.
    pub fn format(args: fmt::Arguments<'_>) -> Result<Self, TooLong> {
        let mut line = Line::<BUILT_PATH_BYTES>::new();
        let _ = fmt::Write::write_fmt(&mut line, args);
        if line.truncated() { Err(TooLong) } else { Self::join(&[line.bytes()]) }
    }
}

/// Shows bytes that should be text as text; what is not UTF-8 or not printable shows as `?`, so that a log line or an
/// error never carries a terminal's control codes.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                f.write_char(if c.is_control() { '?' } else { c })?;
            }
            for _ in chunk.invalid() {
                f.write_char('?')?;
            }
        }
        Ok(())
    }
}

/// `Shown` for a C string.
pub fn shown(text: &CStr) -> Shown<'_> {
    Shown(text.to_bytes())
}

/// Shows text as a JSON string, with its quotes; a byte that is no UTF-8 becomes U+FFFD.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '"' | '\\' => {
                        f.write_char('\\')?;
                        f.write_char(letter)?;
                    }
                    control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                    other => f.write_char(other)?,
                }
            }
            for _ in chunk.invalid() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        f.write_char('"')
    }
}

/// Parses a whole decimal number: no sign, no blanks, no trailing text, no overflow.
pub fn number(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

/// Where `what` stands in a text for the first time. (`memmem` would be faster in long texts, and 5 KB.)
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    memchr::memchr_iter(first, text).find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_full_refuses_and_keeps_what_it_has() {
        let mut storage = [0u8; 8];
        let arena = Arena::new(&mut storage);
        let first = arena.copy(b"abc").unwrap();
        assert_eq!(arena.copy(b"defgh"), Err(Full));
        assert_eq!(arena.join(&[b"d", b"ef"]).unwrap(), c"def");
        assert_eq!(first, c"abc");
        assert_eq!(arena.free(), 0);
    }

    #[test]
    fn line_too_much_text_is_cut_and_says_so() {
        let mut line = Line::<4>::new();
        line.push(b"abcdef");
        assert_eq!(line.text(), "abcd");
        assert!(line.truncated());
    }

    #[test]
    fn path_pushed_twice_has_one_terminator() {
        let mut path = PathText::join(&[b"/a", b"/b"]).unwrap();
        path.push(b"/c").unwrap();
        assert_eq!(path.c(), c"/a/b/c");
        assert_eq!(path.push(&[b'x'; PATH_BYTES]), Err(TooLong));
        assert_eq!(path.c(), c"/a/b/c");
        assert!(PathText::join(&[b"a\0b"]).is_err());
        assert!(PathText::join(&[&[b'x'; PATH_BYTES]]).is_err());
    }

    #[test]
    fn shown_control_codes_become_question_marks() {
        assert_eq!(Shown(b"a\x1b[2Jb\xff").to_string(), "a?[2Jb?");
    }

    #[test]
    fn quoted_is_a_json_string_whatever_the_bytes() {
        assert_eq!(
            Quoted(b"a\\b \"c\" \x07\n\x7f\xff").to_string(),
            r#""a\\b \"c\" \u0007\u000a\u007f\u{fffd}""#.replace("\\u{fffd}", "\u{fffd}")
        );
        assert_eq!(Quoted(b"").to_string(), "\"\"");
    }

    #[test]
    fn find_is_where_it_stands_first() {
        assert_eq!(find(b"a - b - c", b" - "), Some(1));
        assert_eq!(find(b"abc", b"c"), Some(2));
        assert_eq!(find(b"ab", b"abc"), None);
        assert_eq!(find(b"", b"a"), None);
    }

    #[test]
    fn number_trailing_or_overflowing_is_none() {
        assert_eq!(number(b"12"), Some(12));
        for bad in [&b""[..], b"-1", b"+1", b"1x", b"0x10", b" 1", b"99999999999999999999"] {
            assert_eq!(number(bad), None);
        }
    }
}
