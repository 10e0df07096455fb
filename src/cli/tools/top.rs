//! `top`: what the active containers use, again and again: on a terminal, as lines for a file, or as JSON.

use super::cgroup_files::hierarchies;
use super::prepass::Operands;
use super::rounds::{HEADING, Order, batch, json, round, screen, sorted};
use super::{Call, Outcome, Word, lxcpath, parse, put, takes, word};
use crate::cgroup::find::Hierarchies;
use crate::sys::fds::standard;
use crate::sys::pty;
use crate::text::number;
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::time::Duration;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
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
/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let line = parse::<Args>(call, Operands::Anywhere, "")?;
    line.no_operands()?;
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
        let rows = pty::window_size(stdin).map_or(USUAL_ROWS, |(rows, _)| rows);
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
