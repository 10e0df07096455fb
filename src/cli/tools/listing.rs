//! How `ls` prints what it found.

use super::facts::Facts;
use super::figures::{Hundredths, scaled};
use super::json::Json;
use crate::sys::fds::standard;
use crate::sys::pty;
use core::fmt::Write;

/// The columns by their places in a row.
pub const COLUMNS: [&str; 11] =
    ["NAME", "STATE", "PID", "RAM", "SWAP", "AUTOSTART", "GROUPS", "INTERFACE", "IPV4", "IPV6", "UNPRIVILEGED"];
/// Those of the table when none are named.
pub const USUAL: [usize; 7] = [0, 1, 5, 6, 8, 9, 10];
const RAM: usize = 3;
const SWAP: usize = 4;

impl Facts {
    /// The cells of the table.
    pub fn row(&self) -> [String; 11] {
        let dash = |text: String| if text.is_empty() { String::from("-") } else { text };
        let joined = |texts: &[String]| dash(texts.join(", "));
        let megabytes = |bytes: u64, hundredths: u64| match self.runs && self.level == 0 {
            true => Hundredths(hundredths.max(scaled(bytes, 20))).to_string(),
            false => dash(String::new()),
        };
        [
            match self.level {
                // Before the cell, not in it, to LXC's tool: it comes out the same.
                1.. if self.name.find('/').is_none() => format!("{:>1$}{2}", "\\", self.level as usize, self.name),
                _ => self.name.clone(),
            },
            self.state_name().into(),
            dash(self.pid.map_or(String::new(), |pid| pid.to_string())),
            megabytes(self.ram, 0),
            // Whole ones, in LXC's tool.
            megabytes(0, (self.swap >> 20) * 100),
            u8::from(self.autostart).to_string(),
            joined(&self.groups),
            joined(&self.interfaces),
            joined(&self.v4),
            joined(&self.v6),
            self.unprivileged.to_string(),
        ]
    }
}

/// The table of some columns.
pub fn table(rows: &[[String; 11]], columns: &[usize]) -> String {
    let headings = COLUMNS.map(String::from);
    let cell = |row: &[String; 11], column: usize| row.get(column).cloned().unwrap_or_default();
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let is_heading = core::ptr::eq(row, &headings);
        for column in columns {
            let width = rows.iter().chain([&headings]).map(|row| cell(row, *column).len()).max().unwrap_or(0);
            let value = cell(row, *column);
            // Writing to a String cannot fail.
            let _ = match (*column == RAM || *column == SWAP, is_heading || value == "-") {
                (true, true) => write!(text, "{value:<width$}   "),
                (true, false) => write!(text, "{value:>width$}MB "),
                (false, _) => write!(text, "{value:<width$} "),
            };
        }
        text.push('\n');
    }
    text
}

/// The names, as many beside each other as a terminal of `columns` has room for, as LXC counts.
pub fn listed(rows: &[[String; 11]], columns: usize, alone: bool) -> String {
    let names = rows.iter().map(|[name, ..]| name);
    // The heading that is not there counts.
    let width = names.clone().map(String::len).max().unwrap_or(0).max(4);
    let (mut text, mut used) = (String::new(), 0);
    for name in names {
        if alone {
            let _ = writeln!(text, "{name}");
            continue;
        }
        used += width;
        let full = used + width >= columns;
        let _ = write!(text, "{name:<width$}{}", if full { '\n' } else { ' ' });
        used = if full { 0 } else { used + 1 };
    }
    if used > 0 {
        text.push('\n');
    }
    text
}

/// Columns of the terminal at stdout, stderr or stdin; 0 without one.
pub fn terminal_width() -> usize {
    let sizes = [1, 2, 0].into_iter().filter_map(|stream| pty::window_size(standard(stream)).ok());
    sizes.map(|(_, columns)| columns.into()).next().unwrap_or(0)
}

/// One line of JSON.
pub fn json(found: &[Facts]) -> String {
    let mut json = Json::default();
    json.open('[');
    for facts in found {
        json.open('{').key("name").string(&facts.name).key("state").string(facts.state_name());
        json.key("pid").number(facts.pid.map(|pid| pid as u64));
        let pid = facts.pid.filter(|_| facts.level == 0);
        json.key("ram_bytes").number(pid.map(|_| facts.ram)).key("swap_bytes").number(pid.map(|_| facts.swap));
        json.key("autostart").flag(facts.autostart).key("unprivileged").flag(facts.unprivileged);
        let lists =
            [("groups", &facts.groups), ("interfaces", &facts.interfaces), ("ipv4", &facts.v4), ("ipv6", &facts.v6)];
        for (key, list) in lists {
            json.key(key).strings(list.iter().map(String::as_str));
        }
        json.close('}');
    }
    json.close(']');
    json.line()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, ram: &str) -> [String; 11] {
        let mut row = [const { String::new() }; 11];
        row[0] = name.into();
        row[RAM] = ram.into();
        row
    }

    #[test]
    fn table_is_as_wide_as_its_widest_cell() {
        let rows = [row("abcdef", "12.50"), row("a", "-")];
        let text = "NAME   RAM     \nabcdef 12.50MB \na      -       \n";
        assert_eq!(table(&rows, &[0, RAM]), text);
    }

    #[test]
    fn names_fill_the_terminal_as_lxc_fills_it() {
        let rows = [row("a", ""), row("bbbbb", ""), row("c", "")];
        assert_eq!(listed(&rows, 0, false), "a    \nbbbbb\nc    \n");
        assert_eq!(listed(&rows, 80, false), "a     bbbbb c     \n");
        assert_eq!(listed(&rows, 14, false), "a     bbbbb\nc     \n");
        assert_eq!(listed(&rows, 0, true), "a\nbbbbb\nc\n");
    }
}
