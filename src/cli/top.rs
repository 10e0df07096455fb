//! `top`: what the active containers use, again and again: on a terminal, as lines for a file, or as JSON.

use super::cgroup_files::{CgroupFiles, hierarchies};
use super::containers::{active, defined};
use super::figures::{Hundredths, seconds};
use super::json::Json;
use super::prepass::Operands;
use super::usage::Usage;
use super::{Call, Outcome, Word, lxcpath, parse, put, takes, word};
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::sys::fds::standard;
use crate::sys::winsize;
use crate::text::{number, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt;
use core::fmt::Write;
use core::time::Duration;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::AsFd;

/// Shows what the active containers use. Keys: q ends, n c b m s k sort as --sort does, r turns the order round.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// seconds between two rounds (3; 300 with --batch)
    #[argh(option, short = 'd', arg_name = "SEC", from_str_fn(delay))]
    delay: Option<u32>,
    /// lines with commas, for a file
    #[argh(switch, short = 'b')]
    batch: bool,
    /// sort by n name, c CPU, b block devices, m memory, s memory and swap, k memory of the kernel
    #[argh(option, short = 's', arg_name = "LETTER", from_str_fn(word))]
    sort: Option<Word>,
    /// the other way round
    #[argh(switch, short = 'r')]
    reverse: bool,
    /// one line of JSON a round
    #[argh(switch)]
    json: bool,
}

/// argh: whole seconds. A second at least: each round asks every container.
fn delay(text: &str) -> Result<u32, String> {
    let seconds = number(text.as_bytes()).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(|seconds| seconds.max(1)).ok_or_else(|| format!("'{text}' is no number of seconds"))
}

/// Lines that are no container's: two of headings, one of the sum.
const OTHER_LINES: usize = 3;
/// Rows where there is no telling how many a terminal has.
const USUAL_ROWS: u16 = 25;
/// LXC's heading of --batch.
const HEADING: &str = "time_ms,container,cpu_nanos,cpu_sys_userhz,cpu_user_userhz,blkio_bytes,blkio_iops,\
                       mem_used_bytes,memsw_used_bytes,kernel_mem_used_bytes\n";

/// A container in one round.
type Used = (String, Usage);

/// The order of the lines.
#[derive(Clone, Copy)]
struct Order {
    by: u8,
    reversed: bool,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let line = parse::<Args>(call, Operands::Anywhere, "")?;
    let args = &line.args;
    let lxcpath = lxcpath(&line.common);
    let by = args.sort.and_then(|letter| letter.to_bytes().first().copied()).unwrap_or(b'n');
    let order = Order { by, reversed: args.reverse };
    let hierarchies = hierarchies();
    if args.batch || args.json {
        let pause = Duration::from_secs(args.delay.unwrap_or(300).into());
        let mut going_on = args.json || takes(1, HEADING);
        while going_on {
            let used = sorted(round(lxcpath, hierarchies), order);
            going_on = takes(1, &if args.json { json(&used) } else { batch(&used) });
            if going_on {
                std::thread::sleep(pause);
            }
        }
        // Nobody reads any more.
        return Ok(0);
    }
    let stdin = standard(0);
    let before = tcgetattr(stdin).map_err(|_| line.fail(format_args!("stdin is no terminal; --batch needs none")))?;
    let failed = |errno: Errno| line.fail(format_args!("the terminal: {}", errno.desc()));
    interact(&before, lxcpath, order, args.delay.unwrap_or(3), hierarchies).map_err(failed)?;
    Ok(0)
}

/// Shows round after round until a key or a signal ends it. The terminal is as before afterwards.
fn interact(
    before: &Termios,
    lxcpath: &CStr,
    mut order: Order,
    delay: u32,
    hierarchies: &'static Hierarchies<'static>,
) -> nix::Result<()> {
    let stdin = standard(0);
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP] {
        ends.add(signal);
    }
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let timeout = PollTimeout::try_from(u64::from(delay) * 1_000).unwrap_or(PollTimeout::MAX);
    let mut keys = Keys::new(before)?;
    loop {
        let used = sorted(round(lxcpath, hierarchies), order);
        let rows = winsize::of(stdin).map_or(USUAL_ROWS, |(rows, _)| rows);
        if !takes(1, &screen(&used, usize::from(rows).saturating_sub(OTHER_LINES))) {
            return Ok(());
        }
        let mut ready = [PollFd::new(stdin, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let [key, _] = ready.map(|fd| fd.any().unwrap_or(false));
        if let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGTSTP as u32 {
                return Ok(());
            }
            // The shell gets its terminal for as long as we are stopped.
            drop(keys);
            kill(nix::unistd::getpid(), Signal::SIGSTOP)?;
            keys = Keys::new(before)?;
            continue;
        }
        if !key {
            continue;
        }
        let mut letter = [0];
        match (nix::unistd::read(stdin, &mut letter), letter) {
            (Ok(0) | Err(_), _) | (_, [b'q']) => return Ok(()),
            (_, [b'r']) => order.reversed = !order.reversed,
            (_, [by @ (b'n' | b'c' | b'b' | b'm' | b's' | b'k')]) => {
                order = Order { by, reversed: by == order.by && !order.reversed }
            }
            _ => {}
        }
    }
}

/// A terminal that gives keys one by one and does not show them. Dropping it brings back what was.
struct Keys<'a> {
    before: &'a Termios,
}

impl<'a> Keys<'a> {
    fn new(before: &'a Termios) -> nix::Result<Keys<'a>> {
        let mut now = before.clone();
        now.input_flags.remove(InputFlags::IGNBRK);
        now.input_flags.insert(InputFlags::BRKINT);
        now.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
        for (index, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)] {
            if let Some(slot) = now.control_chars.get_mut(index as usize) {
                *slot = value;
            }
        }
        tcsetattr(standard(0), SetArg::TCSAFLUSH, &now)?;
        Ok(Keys { before })
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(standard(0), SetArg::TCSAFLUSH, self.before);
        // The sum stands at the end of an open line.
        put(2, "\n");
    }
}

/// Asks all active containers, by name.
fn round(lxcpath: &CStr, hierarchies: &'static Hierarchies<'static>) -> Vec<Used> {
    let names = active(lxcpath, &defined(lxcpath));
    let used = |name: &CStr| Usage::of(&CgroupFiles::new(Container { lxcpath, name }, hierarchies));
    names.iter().map(|name| (shown(name).to_string(), used(name))).collect()
}

/// Brings them into an order: names from a to z, figures from the largest.
fn sorted(used: Vec<Used>, order: Order) -> Vec<Used> {
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
fn batch(used: &[Used]) -> String {
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
fn json(used: &[Used]) -> String {
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
fn screen(used: &[Used], most: usize) -> String {
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
