//! The config as text: one key for a client, or all of it to be loaded again.

use super::keys::{self, Key, Kind, Out};
use super::{Config, lex};
use crate::text::{Line, shown};
use core::fmt::{self, Write};

/// Writes the value of `key`, in either vocabulary, as LXC's GET_CONFIG_ITEM does: a list one value a line, a family's
/// bare name as `KEY = VALUE` lines, `lxc.net` as the types of its links. None for a key that has no value to ask for.
/// Allocates nothing: the supervisor answers its clients with it.
pub fn get(config: &Config<'_>, key: &[u8], out: &mut dyn Write) -> Option<()> {
    let (row, sub, old) = keys::find(key)?;
    match row.kind {
        Kind::Include | Kind::Ignored | Kind::Head(_) => return None,
        Kind::Links if !super::nics::answers(config, sub, old) => return None,
        _ => {}
    }
    let all = row.is_family() && sub.is_empty() && !matches!(row.kind, Kind::Links);
    let links = matches!(row.kind, Kind::Links);
    let mut first = true;
    let mut each = |member: fmt::Arguments<'_>, value: fmt::Arguments<'_>| {
        if all {
            return writeln!(out, "{}.{member} = {value}", shown(row.name));
        }
        // The fields of a link have newlines between them only, other lists after each.
        if links && !sub.is_empty() && !first {
            out.write_char('\n')?;
        }
        first = false;
        write!(out, "{value}")?;
        if is_list(row) || links && sub.is_empty() { out.write_char('\n') } else { Ok(()) }
    };
    row.show(config, sub, old, &mut Out { printing: false, each: &mut each }).ok()?;
    // Numbers that are kept as text only if they are given: LXC's answer is their default.
    if first && matches!(row.name.to_bytes(), b"lxc.start.auto" | b"lxc.start.delay" | b"lxc.start.order") {
        out.write_char('0').ok()?;
    }
    Some(())
}

/// Whether each value ends its line.
fn is_list(row: &Key) -> bool {
    match row.kind {
        Kind::List(..)
        | Kind::Hook(_)
        | Kind::Environment(..)
        | Kind::Kept(keys::Keep::Lines | keys::Keep::Words, ..) => true,
        Kind::Family(..) => matches!(row.name.to_bytes(), b"lxc.cgroup" | b"lxc.cgroup2"),
        _ => false,
    }
}

/// Writes the whole effective config in today's vocabulary, includes and older names resolved. Loading the output
/// gives a config that prints the same. Keys of `monopod.` stand there only where they differ from their defaults.
pub fn print(config: &Config<'_>, out: &mut dyn Write) -> fmt::Result {
    let defaults = Box::new(Config::new(c"", c""));
    keys::TABLE.iter().try_for_each(|row| {
        let own = row.name.to_bytes().starts_with(b"monopod.");
        if own && one_line(row, config).bytes() == one_line(row, &defaults).bytes() {
            return Ok(());
        }
        let mut each = |member: fmt::Arguments<'_>, value: fmt::Arguments<'_>| {
            let mut ends = Ends::default();
            write!(ends, "{value}")?;
            let quote = if ends.need_quotes() { "\"" } else { "" };
            let dot = if row.is_family() { "." } else { "" };
            writeln!(out, "{}{dot}{member} = {quote}{value}{quote}", shown(row.name))
        };
        row.show(config, b"", false, &mut Out { printing: true, each: &mut each })
    })
}

/// The value of a key that has one short value.
fn one_line(row: &Key, config: &Config<'_>) -> Line<32> {
    let mut line = Line::new();
    let mut each = |_: fmt::Arguments<'_>, value: fmt::Arguments<'_>| line.write_fmt(value);
    let _ = row.show(config, b"", false, &mut Out { printing: true, each: &mut each });
    line
}

/// Sees the first and the last byte of what is written to it.
#[derive(Default)]
struct Ends {
    ends: [u8; 2],
    len: usize,
}

impl Ends {
    /// Whether a reader would take something off the ends: blanks, or a pair of quotes that belongs to the value.
    fn need_quotes(&self) -> bool {
        let [first, last] = self.ends;
        let quoted = self.len > 1 && lex::is_quoted(&self.ends);
        quoted || first.is_ascii_whitespace() || last.is_ascii_whitespace()
    }
}

impl Write for Ends {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) {
            if self.len == 0 {
                self.ends = [first; 2];
            }
            let [_, end] = &mut self.ends;
            *end = last;
            self.len = self.len.saturating_add(text.len());
        }
        Ok(())
    }
}
