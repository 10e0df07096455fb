//! What a container has used, from whichever cgroup version keeps it. A file that is not there is a figure that is not there.

use super::cgroup_files::CgroupFiles;
use crate::text::number;

/// Microseconds of a clock tick of USER_HZ, which is a hundredth of a second on every Linux.
const TICK: u64 = 10_000;

/// Nanoseconds of CPU time.
pub fn cpu(files: &CgroupFiles<'_>) -> Option<u64> {
    either(files, "cpuacct.usage", "cpu.stat").and_then(|text| nanoseconds(&text))
}

/// Bytes of memory.
pub fn memory(files: &CgroupFiles<'_>) -> Option<u64> {
    whole(either(files, "memory.usage_in_bytes", "memory.current"))
}

/// Bytes of the kernel's memory.
pub fn kernel(files: &CgroupFiles<'_>) -> Option<u64> {
    whole(either(files, "memory.kmem.usage_in_bytes", "memory.kernel"))
}

/// Bytes read from and written to block devices, together.
pub fn blocks(files: &CgroupFiles<'_>) -> Option<u64> {
    either(files, "blkio.throttle.io_service_bytes", "io.stat").map(|text| transfers(&text).total)
}

fn either(files: &CgroupFiles<'_>, v1: &str, v2: &str) -> Option<String> {
    files.read(v1).or_else(|| files.read(v2))
}

fn whole(text: Option<String>) -> Option<u64> {
    number(text?.as_bytes().trim_ascii())
}

/// Nanoseconds from a `cpuacct.usage` (v1, one number) or a `cpu.stat` (v2, `usage_usec N` among others).
fn nanoseconds(text: &str) -> Option<u64> {
    match keyed(text, "usage_usec") {
        Some(microseconds) => microseconds.checked_mul(1_000),
        None => number(text.as_bytes().trim_ascii()),
    }
}

/// The number of a `KEY N` line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(key)?.strip_prefix(' ')?.as_bytes()))
}

/// Bytes or operations of block devices.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Transfers {
    /// All of them.
    pub total: u64,
    /// Reads.
    pub read: u64,
    /// Writes.
    pub write: u64,
}

/// v1's `8:0 Read N` and `Total N` lines, or the `rbytes=N` and `wbytes=N` words of v2.
fn transfers(text: &str) -> Transfers {
    let mut found = Transfers::default();
    for line in text.lines() {
        let mut last = "";
        for word in line.split_ascii_whitespace() {
            if let Some(bytes) = word.strip_prefix("rbytes=") {
                add(&mut found.read, bytes);
                add(&mut found.total, bytes);
            } else if let Some(bytes) = word.strip_prefix("wbytes=") {
                add(&mut found.write, bytes);
                add(&mut found.total, bytes);
            }
            match last {
                "Read" => add(&mut found.read, word),
                "Write" => add(&mut found.write, word),
                // The one without a device before it.
                "Total" if line.starts_with("Total") => add(&mut found.total, word),
                _ => {}
            }
            last = word;
        }
    }
    found
}

fn add(sum: &mut u64, word: &str) {
    *sum = sum.saturating_add(number(word.as_bytes()).unwrap_or(0));
}

/// Everything that `top` shows. What is not kept on this host is 0, as in LXC's.
#[derive(Default)]
pub struct Usage {
    /// Nanoseconds.
    pub cpu: u64,
    /// In the kernel, in hundredths of a second.
    pub system: u64,
    /// In programs, in hundredths of a second.
    pub user: u64,
    /// Bytes of block devices.
    pub bytes: Transfers,
    /// Operations on them.
    pub operations: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes of memory and swap.
    pub with_swap: u64,
    /// Bytes of the kernel.
    pub kernel: u64,
}

impl Usage {
    /// Of a container.
    pub fn of(files: &CgroupFiles<'_>) -> Usage {
        let times = either(files, "cpuacct.stat", "cpu.stat").unwrap_or_default();
        let ticks = |v1: &str, v2: &str| keyed(&times, v1).or_else(|| Some(keyed(&times, v2)? / TICK)).unwrap_or(0);
        let bytes = either(files, "blkio.throttle.io_service_bytes", "io.stat").unwrap_or_default();
        let memory = memory(files).unwrap_or(0);
        let both = whole(files.read("memory.memsw.usage_in_bytes"));
        let swapped = || whole(files.read("memory.swap.current")).map(|swap| memory.saturating_add(swap));
        Usage {
            cpu: cpu(files).unwrap_or(0),
            system: ticks("system", "system_usec"),
            user: ticks("user", "user_usec"),
            operations: operations(files, &bytes),
            bytes: transfers(&bytes),
            memory,
            with_swap: both.or_else(swapped).unwrap_or(0),
            kernel: kernel(files).unwrap_or(0),
        }
    }

    /// Adds another container's.
    pub fn add(&mut self, other: &Usage) {
        self.cpu += other.cpu;
        self.system += other.system;
        self.user += other.user;
        self.bytes.total += other.bytes.total;
        self.bytes.read += other.bytes.read;
        self.bytes.write += other.bytes.write;
        self.operations += other.operations;
        self.memory += other.memory;
        self.with_swap += other.with_swap;
        self.kernel += other.kernel;
    }
}

/// v1 has a file of its own for them, v2 the words `rios=N` and `wios=N` beside the bytes.
fn operations(files: &CgroupFiles<'_>, bytes: &str) -> u64 {
    if let Some(text) = files.read("blkio.throttle.io_serviced") {
        return transfers(&text).total;
    }
    let mut sum = 0;
    for word in bytes.split_ascii_whitespace() {
        if let Some(count) = word.strip_prefix("rios=").or(word.strip_prefix("wios=")) {
            add(&mut sum, count);
        }
    }
    sum
}

/// Bytes of swap alone.
pub fn swap(files: &CgroupFiles<'_>) -> Option<u64> {
    let v1 = files.read("memory.stat").and_then(|text| keyed(&text, "swap"));
    v1.or_else(|| whole(files.read("memory.swap.current")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_use_is_read_from_both_versions() {
        assert_eq!(nanoseconds("12345\n"), Some(12_345));
        assert_eq!(nanoseconds("usage_usec 7\nuser_usec 3\n"), Some(7_000));
        assert_eq!(nanoseconds("nonsense"), None);
    }

    #[test]
    fn block_use_is_read_from_both_versions() {
        let v1 = "8:0 Read 4\n8:0 Write 5\n8:0 Sync 9\n8:0 Total 9\n8:16 Read 1\n8:16 Total 1\nTotal 10\n";
        assert_eq!(transfers(v1), Transfers { total: 10, read: 5, write: 5 });
        let v2 = "8:0 rbytes=3 wbytes=4 rios=9\n8:16 rbytes=1 wbytes=0\n";
        assert_eq!(transfers(v2), Transfers { total: 8, read: 4, write: 4 });
        assert_eq!(transfers(""), Transfers::default());
    }
}
