//! Every key there is, in one table (`keys/table.rs`): today's name, older names, how it is set, how it is shown.
//!
//! The table is in the order in which a config is printed. A `Family` answers to what stands behind its name and a dot;
//! its bare name means all members. Older names are those of LXC 1.x and 2.0 and follow what `lxc-update-config` makes
//! of them. An empty value puts a key back to its default or clears a list; a repeated list key appends, any other
//! key's last value wins.

use super::values::{self, Fault};
use super::{At, Config, HookKind, Kept, List, Origin, lex, nics};
use crate::limits;
use crate::text::{Arena, Shown, shown};
use core::ffi::CStr;
use core::fmt::{self, Write};
use families::{environment, hook, hooks};

mod families;
mod table;

pub use table::TABLE;

/// One row of the table.
pub struct Key {
    /// Today's name.
    pub name: &'static CStr,
    /// Names of older LXC versions.
    pub old: &'static [&'static str],
    /// What the key does.
    pub kind: Kind,
}

/// Sets a key from what was given.
pub type Set = for<'g, 't> fn(&mut Config<'t>, &Given<'g, 't>) -> Result<(), Fault>;
/// Shows a key's values.
pub type Show = fn(&Config<'_>, &mut Out<'_>) -> fmt::Result;
/// Shows one member of a family, or all if none is named.
pub type ShowMember = fn(&Config<'_>, &[u8], &mut Out<'_>) -> fmt::Result;

/// Where a value lies in the config.
pub type Get<T> = for<'c> fn(&'c Config<'_>) -> &'c T;
/// The same, to be written.
pub type GetMut<T> = for<'c> fn(&'c mut Config<'_>) -> &'c mut T;
/// Where a text lies.
pub type GetText = for<'c, 't> fn(&'c Config<'t>) -> &'c Option<&'t CStr>;
/// The same, to be written.
pub type GetTextMut = for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Option<&'t CStr>;
/// Where a text with its place lies.
pub type GetTextAt = for<'c, 't> fn(&'c Config<'t>) -> &'c Option<At<&'t CStr>>;
/// The same, to be written.
pub type GetTextAtMut = for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Option<At<&'t CStr>>;
/// Entries of an environment.
pub type Entries<'t> = List<&'t CStr, { limits::ENVIRONMENT }>;

/// What a key does.
pub enum Kind {
    /// 0 or 1; the default.
    Flag(Get<bool>, GetMut<bool>, bool),
    /// 0 or 1, or what the preset says.
    Switch(Get<Option<bool>>, GetMut<Option<bool>>),
    /// Any text.
    Text(GetText, GetTextMut),
    /// Any text that an error may name with its place.
    TextAt(GetTextAt, GetTextAtMut),
    /// A whole number; the default.
    Number(Get<u32>, GetMut<u32>, u32),
    /// A time in milliseconds; the default.
    Time(Get<u64>, GetMut<u64>, u64),
    /// A signal; the default.
    Signal(Get<i32>, GetMut<i32>, i32),
    /// A size of a console's log or buffer.
    ConsoleSize(Get<u64>, GetMut<u64>),
    /// Commands to be run at a moment.
    Hook(HookKind),
    /// A list of KEY=VALUE.
    Environment(
        for<'c, 't> fn(&'c Config<'t>) -> &'c Entries<'t>,
        for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Entries<'t>,
    ),
    /// One value.
    One(Set, Show),
    /// A list; for a client each value ends its line.
    List(Set, Show),
    /// A name with members behind it.
    Family(Set, ShowMember),
    /// The network links, whose older keys have another form.
    Links,
    /// Only clears what it heads.
    Head(for<'t> fn(&mut Config<'t>)),
    /// Kept to be shown again. The function checks a value.
    Kept(Keep, fn(&[u8]) -> Result<(), Fault>),
    /// Read by `include`.
    Include,
    /// Removed from LXC long ago, still found in files, without effect.
    Ignored,
}

/// How a kept key adds up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last value wins.
    Last,
    /// Each line is a value.
    Lines,
    /// Each word is a value.
    Words,
}

/// What a setter gets.
pub struct Given<'g, 't> {
    /// What stands behind a family's name and dot; empty for its bare name and for any other key.
    pub sub: &'g [u8],
    /// An older name was used.
    pub old: bool,
    /// The value, without blanks and quotes round it.
    pub value: &'g [u8],
    /// Where it stands.
    pub at: Origin,
    /// Where text goes.
    pub arena: &'g Arena<'t>,
}

impl<'t> Given<'_, 't> {
    /// The value as text; None if it is empty.
    fn text(&self) -> Result<Option<&'t CStr>, Fault> {
        if self.value.is_empty() { Ok(None) } else { Ok(Some(self.arena.copy(self.value)?)) }
    }

    /// The value as text with its place; None if it is empty.
    fn text_at(&self) -> Result<Option<At<&'t CStr>>, Fault> {
        Ok(self.text()?.map(|value| self.at(value)))
    }

    /// A value with the place of this line.
    fn at<T>(&self, value: T) -> At<T> {
        At { value, at: self.at }
    }

    /// What `read` makes of the value, or `default` if it is empty.
    fn or<T>(&self, default: T, read: impl FnOnce(&[u8]) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.value.is_empty() { Ok(default) } else { read(self.value) }
    }
}

/// What most rows do. Called, not copied into each row.
impl<'t> Given<'_, 't> {
    /// Puts what `read` makes of the value in its place, or `default` if the value is empty.
    #[inline(never)]
    fn put<T>(&self, place: &mut T, default: T, read: fn(&[u8]) -> Result<T, Fault>) -> Result<(), Fault> {
        *place = self.or(default, read)?;
        Ok(())
    }

    /// One of some words.
    fn put_word<T: Copy>(&self, place: &mut T, default: T, words: &[(&'static str, T)]) -> Result<(), Fault> {
        *place = self.or(default, |value| values::word(value, words))?;
        Ok(())
    }

    /// 0, 1, or what the preset says.
    #[inline(never)]
    fn put_switch(&self, place: &mut Option<bool>) -> Result<(), Fault> {
        *place = self.or(None, |value| values::flag(value).map(Some))?;
        Ok(())
    }

    #[inline(never)]
    fn put_text(&self, place: &mut Option<&'t CStr>) -> Result<(), Fault> {
        *place = self.text()?;
        Ok(())
    }

    #[inline(never)]
    fn put_text_at(&self, place: &mut Option<At<&'t CStr>>) -> Result<(), Fault> {
        *place = self.text_at()?;
        Ok(())
    }
}

/// Text as it is in the file, but for bytes that are not UTF-8 and control codes other than the tab: those would not
/// survive a terminal or end the line, and become `?`.
pub struct Raw<'a>(&'a CStr);

/// `Raw` of a C string.
pub fn raw(text: &CStr) -> Raw<'_> {
    Raw(text)
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.to_bytes().split(|byte| *byte == b'\t').enumerate() {
            if index > 0 {
                f.write_char('\t')?;
            }
            write!(f, "{}", Shown(part))?;
        }
        Ok(())
    }
}

/// What a shower writes to: it calls `one` or `member` for each value.
pub struct Out<'a> {
    /// The whole config is printed, to be loaded again; else a client asked for one key.
    pub printing: bool,
    /// Gets a member's name behind its family's (empty for other keys) and a value.
    pub each: &'a mut dyn FnMut(fmt::Arguments<'_>, fmt::Arguments<'_>) -> fmt::Result,
}

impl Out<'_> {
    /// A value.
    #[inline(never)]
    pub fn one(&mut self, value: impl fmt::Display) -> fmt::Result {
        (self.each)(format_args!(""), format_args!("{value}"))
    }

    /// A member of a family and its value.
    pub fn member(&mut self, name: fmt::Arguments<'_>, value: fmt::Arguments<'_>) -> fmt::Result {
        (self.each)(name, value)
    }

    #[inline(never)]
    fn text(&mut self, text: Option<&CStr>) -> fmt::Result {
        text.map_or(Ok(()), |text| self.one(raw(text)))
    }

    #[inline(never)]
    fn text_at(&mut self, text: Option<At<&CStr>>) -> fmt::Result {
        self.text(text.map(|text| text.value))
    }

    #[inline(never)]
    fn flag(&mut self, flag: bool) -> fmt::Result {
        self.one(u8::from(flag))
    }

    /// The word of a value; nothing for a value without one.
    fn word<T: Copy + PartialEq>(&mut self, value: T, words: &[(&'static str, T)]) -> fmt::Result {
        words.iter().find(|(_, known)| *known == value).map_or(Ok(()), |(word, _)| self.one(word))
    }

    #[inline(never)]
    fn switch(&mut self, switch: Option<bool>) -> fmt::Result {
        switch.map_or(Ok(()), |on| self.flag(on))
    }

    fn texts(&mut self, texts: &[&CStr]) -> fmt::Result {
        texts.iter().try_for_each(|text| self.one(raw(text)))
    }

    /// A size that can be written only if it is not 0: LXC reads 0 as one page.
    fn size(&mut self, bytes: u64) -> fmt::Result {
        if self.printing && bytes == 0 { Ok(()) } else { self.one(bytes) }
    }

    /// A time in seconds, or in milliseconds if it is not whole.
    #[inline(never)]
    fn ms(&mut self, ms: u64) -> fmt::Result {
        if ms.is_multiple_of(1000) { self.one(ms / 1000) } else { self.one(format_args!("{ms}ms")) }
    }
}

/// Puts a value of a kept key away.
fn keep<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, key: &'static CStr, keep: Keep) -> Result<(), Fault> {
    if matches!(keep, Keep::Last) || g.value.is_empty() {
        c.kept.retain(|known| known.key != key);
    }
    if g.value.is_empty() {
        return Ok(());
    }
    let mut push = |value: &[u8]| {
        let kept = Kept { key, value: g.arena.copy(value)?, at: g.at };
        c.kept.push(kept).map_err(|_| Fault::Full(&("kept values", limits::KEPT, "KEPT")))
    };
    if keep == Keep::Words { lex::words(g.value).try_for_each(push) } else { push(g.value) }
}

/// Finds the row of a key as written; with it what stands behind a family's name, and whether an older name was used.
pub fn find(key: &[u8]) -> Option<(&'static Key, &[u8], bool)> {
    let exact = |row: &'static Key| {
        let old = row.old.iter().any(|old| old.as_bytes() == key);
        (old || row.name.to_bytes() == key).then_some((row, &b""[..], old))
    };
    let behind = |name: &[u8]| key.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
    let member = |row: &'static Key| {
        if !row.is_family() {
            return None;
        }
        let new = behind(row.name.to_bytes()).map(|sub| (row, sub, false));
        new.or_else(|| row.old.iter().find_map(|old| behind(old.as_bytes()).map(|sub| (row, sub, true))))
    };
    TABLE.iter().find_map(exact).or_else(|| TABLE.iter().find_map(member)).filter(|(_, sub, _)| {
        // `lxc.net.` is no key.
        !sub.is_empty() || !key.ends_with(b".")
    })
}

/// The name in the table that is nearest to a key that is not in it; None if not even half of it is alike.
pub fn nearest(key: &[u8]) -> Option<&'static str> {
    let (mut nearest, mut least) = (None, key.len() / 2 + 1);
    let mut look = |name: &'static str| {
        let distance = values::distance(name.as_bytes(), key);
        if distance < least {
            (nearest, least) = (Some(name), distance);
        }
    };
    for row in TABLE {
        row.name.to_str().into_iter().for_each(&mut look);
        row.old.iter().copied().for_each(&mut look);
    }
    nearest
}

impl Key {
    /// Whether members stand behind the name.
    pub fn is_family(&self) -> bool {
        matches!(self.kind, Kind::Family(..) | Kind::Links)
    }

    /// Sets the key.
    pub fn set<'t>(&self, config: &mut Config<'t>, given: &Given<'_, 't>) -> Result<(), Fault> {
        match &self.kind {
            Kind::Flag(_, at, default) => given.put(at(config), *default, values::flag),
            Kind::Switch(_, at) => given.put(at(config), None, |value| values::flag(value).map(Some)),
            Kind::Text(_, at) => {
                *at(config) = given.text()?;
                Ok(())
            }
            Kind::TextAt(_, at) => {
                *at(config) = given.text_at()?;
                Ok(())
            }
            Kind::Number(_, at, default) => given.put(at(config), *default, values::whole32),
            Kind::Time(_, at, default) => given.put(at(config), *default, values::duration_ms),
            Kind::Signal(_, at, default) => given.put(at(config), *default, values::signal),
            Kind::ConsoleSize(_, at) => given.put(at(config), 0, values::console_size),
            Kind::Hook(kind) => hook(config, given, *kind),
            Kind::Environment(_, at) => environment(at(config), given),
            Kind::One(set, _) | Kind::List(set, _) | Kind::Family(set, _) => set(config, given),
            Kind::Links => nics::set(config, given),
            Kind::Head(clear) => {
                clear(config);
                given.or((), |_| Err(Fault::Expected("nothing, which clears")))
            }
            Kind::Kept(how, check) => {
                given.or((), check)?;
                keep(config, given, self.name, *how)
            }
            Kind::Include | Kind::Ignored => Ok(()),
        }
    }

    /// Shows the key's values, of a family those of the member `sub` or of all.
    pub fn show(&self, config: &Config<'_>, sub: &[u8], old: bool, out: &mut Out<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Flag(at, ..) => out.flag(*at(config)),
            Kind::Switch(at, _) => at(config).map_or(Ok(()), |on| out.flag(on)),
            Kind::Text(at, _) => out.text(*at(config)),
            Kind::TextAt(at, _) => out.text_at(*at(config)),
            Kind::Number(at, ..) => out.one(at(config)),
            Kind::Time(at, ..) => out.ms(*at(config)),
            Kind::Signal(at, ..) => out.one(at(config)),
            Kind::ConsoleSize(at, _) => out.size(*at(config)),
            Kind::Hook(kind) => hooks(config, *kind, out),
            Kind::Environment(at, _) => out.texts(at(config)),
            Kind::One(_, show) | Kind::List(_, show) => show(config, out),
            Kind::Family(_, show) => show(config, sub, out),
            Kind::Links => nics::show(config, sub, old, out),
            Kind::Kept(..) => {
                config.kept.iter().filter(|kept| kept.key == self.name).try_for_each(|kept| out.one(raw(kept.value)))
            }
            Kind::Head(_) | Kind::Include | Kind::Ignored => Ok(()),
        }
    }
}
