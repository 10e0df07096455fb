//! One round of `top`: asked, sorted, and printed in three ways.

use super::cgroup_files::CgroupFiles;
use super::containers::{active, defined};
use super::figures::{Hundredths, seconds};
use super::json::Json;
use super::usage::Usage;
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::text::shown;
use core::ffi::CStr;
use core::fmt;
use core::fmt::Write;
use nix::time::{ClockId, clock_gettime};

/// LXC's heading of --batch.
pub const HEADING: &str = "time_ms,container,cpu_nanos,cpu_sys_userhz,cpu_user_userhz,blkio_bytes,blkio_iops,\
                       mem_used_bytes,memsw_used_bytes,kernel_mem_used_bytes\n";

/// A container in one round.
pub type Used = (String, Usage);

/// The order of the lines.
#[derive(Clone, Copy)]
pub struct Order {
    /// The letter of --sort.
    pub by: u8,
    /// --reverse
    pub reversed: bool,
}

/// Asks all active containers, by name.
pub fn round(lxcpath: &CStr, hierarchies: &'static Hierarchies<'static>) -> Vec<Used> {
    let names = active(lxcpath, &defined(lxcpath));
    let used = |name: &CStr| Usage::of(&CgroupFiles::new(Container { lxcpath, name }, hierarchies));
    names.iter().map(|name| (shown(name).to_string(), used(name))).collect()
}

/// Brings them into an order: names from a to z, figures from the largest.
pub fn sorted(used: Vec<Used>, order: Order) -> Vec<Used> {
    let figure = |used: &Usage| match order.by {
        b'c' => used.cpu,
        b'b' => used.bytes.total,
        b'm' => used.memory,
        b's' => used.with_swap,
        b'k' => used.kernel,
        // They come by name.
        _ => 0,
    };
    let by_name = !matches!(order.by, b'c' | b'b' | b'm' | b's' | b'k');
    let mut sorted: Vec<Used> = Vec::with_capacity(used.len());
    for one in used {
        let place = sorted.iter().take_while(|(_, other)| match order.reversed {
            true => !by_name && figure(other) <= figure(&one.1),
            false => figure(other) >= figure(&one.1),
        });
        sorted.insert(place.count(), one);
    }
    sorted
}

/// A round as lines for a file.
pub fn batch(used: &[Used]) -> String {
    let mut text = String::new();
    let now = now_ms();
    for (name, used) in used {
        let Usage { cpu, system, user, bytes, operations, memory, with_swap, kernel } = used;
        // Writing to a String cannot fail.
        let _ = write!(text, "{now},{name}");
        for figure in [cpu, system, user, &bytes.total, operations, memory, with_swap, kernel] {
            let _ = write!(text, ",{figure}");
        }
        text.push('\n');
    }
    text
}

/// A round as one line of JSON.
pub fn json(used: &[Used]) -> String {
    let mut json = Json::default();
    json.open('{').key("time_ms").number(Some(now_ms())).key("containers").open('[');
    for (name, used) in used {
        json.open('{').key("name").string(name);
        for (key, figure) in [
            ("cpu_ns", used.cpu),
            ("cpu_system_ms", used.system * 10),
            ("cpu_user_ms", used.user * 10),
            ("blkio_bytes", used.bytes.total),
            ("blkio_read_bytes", used.bytes.read),
            ("blkio_write_bytes", used.bytes.write),
            ("blkio_operations", used.operations),
            ("memory_bytes", used.memory),
            ("memory_swap_bytes", used.with_swap),
            ("kmem_bytes", used.kernel),
        ] {
            json.key(key).number(Some(figure));
        }
        json.close('}');
    }
    json.close(']').close('}');
    json.line()
}

fn now_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000 + now.tv_nsec() as u64 / 1_000_000)
}

/// A round on a terminal that has room for `most` containers.
pub fn screen(used: &[Used], most: usize) -> String {
    let mut sum = Usage::default();
    used.iter().for_each(|(_, used)| sum.add(used));
    let (swap, kernel) = (sum.with_swap > 0, sum.kernel > 0);
    let mut text = String::from("\x1b[H\x1b[J\x1b[7m\x1b[1m");
    for words in [
        ["Container", "CPU", "CPU", "CPU", "BlkIO", "Mem", "MemSw", "KMem"],
        ["Name", "Used", "Sys", "User", "Total(Read/Write)", "Used", "Used", "Used"],
    ] {
        columns(&mut text, &words, swap, kernel);
        text.push('\n');
    }
    text.push_str("\x1b[0m");
    let shown = used.len().min(most);
    for (name, used) in used.iter().take(most) {
        figures(&mut text, name, used, swap, kernel);
        text.push('\n');
    }
    figures(&mut text, &format!("TOTAL {shown} of {}", used.len()), &sum, swap, kernel);
    text
}

/// The line of a container, or of all.
fn figures(text: &mut String, name: &str, used: &Usage, swap: bool, kernel: bool) {
    let name: String = name.chars().take(18).collect();
    let words = [
        &name,
        &seconds(used.cpu).to_string(),
        &Hundredths(used.system).to_string(),
        &Hundredths(used.user).to_string(),
        &format!("{}({}/{})", Short(used.bytes.total), Short(used.bytes.read), Short(used.bytes.write)),
        &Short(used.memory).to_string(),
        &Short(used.with_swap).to_string(),
        &Short(used.kernel).to_string(),
    ];
    columns(text, &words.map(String::as_str), swap, kernel);
}

fn columns(text: &mut String, words: &[&str; 8], swap: bool, kernel: bool) {
    let [name, cpu, system, user, blocks, memory, swapped, kernels] = words;
    let _ = write!(text, "{name:<18} {cpu:>12} {system:>12} {user:>12} {blocks:>36} {memory:>10}");
    for (there, word) in [(swap, swapped), (kernel, kernels)] {
        if there {
            let _ = write!(text, " {word:>10}");
        }
    }
}

/// Bytes as lxc-top writes them, which is not as lxc-info does: a unit of its own only above 1024 of the smaller one.
struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Short(bytes) = *self;
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| bytes > 1 << shift) {
            Some((shift, unit)) => {
                // To the nearest hundredth, but for GiB, which are cut off.
                let half = if shift == 30 { 0 } else { (1 << shift) / 200 + u64::from(shift == 20) };
                let (whole, rest) = ((bytes + half) >> shift, (bytes + half) & ((1 << shift) - 1));
                write!(f, "{} {unit}", Hundredths(whole * 100 + ((rest * 100) >> shift)))
            }
            None => write!(f, "{bytes:>3}.00   "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(name: &str, cpu: u64, memory: u64) -> Used {
        (name.into(), Usage { cpu, memory, ..Usage::default() })
    }

    fn order(by: u8, reversed: bool) -> String {
        let all = vec![used("a", 1, 7), used("b", 5, 7), used("c", 3, 9)];
        sorted(all, Order { by, reversed }).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn order_is_by_name_or_from_the_largest() {
        let found = [(b'n', false), (b'n', true), (b'c', false), (b'c', true), (b'm', false), (b'?', false)];
        assert_eq!(found.map(|(by, reversed)| order(by, reversed)), ["abc", "cba", "bca", "acb", "cab", "abc"]);
    }

    #[test]
    fn short_sizes_are_lxc_tops() {
        let sizes = [0, 1024, 1025, 712 << 10, 1 << 20, (1 << 20) + 1, 3 << 29];
        let texts = ["  0.00   ", "1024.00   ", "1.00 KiB", "712.00 KiB", "1024.00 KiB", "1.00 MiB", "1.50 GiB"];
        assert_eq!(sizes.map(|bytes| Short(bytes).to_string()), texts);
    }

    #[test]
    fn screen_ends_with_the_sum_of_all() {
        let text = screen(&[used("a", 2_000_000_000, 712 << 10), used("a-name-of-twenty-one", 1_000_000_000, 0)], 1);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].starts_with("\x1b[0ma                          2.00         0.00"), "{text}");
        assert!(lines[2].ends_with("  0.00   (  0.00   /  0.00   ) 712.00 KiB"), "{text}");
        assert!(lines[3].starts_with("TOTAL 1 of 2               3.00"), "{text}");
    }
}
