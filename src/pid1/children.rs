//! Starting programs from process 1: a session of their own, the console, no blocked signal.

use super::console::{self, say};
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open, standard};
use crate::sys::{process, pty, signals};
use crate::text::shown;
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, OwnedFd};

/// What a program's standard input, output and error are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// The console.
    Console,
    /// The console for output only.
    Output,
    /// The console's terminal as the session's controlling one, in a sane mode: for a person.
    Person,
}

/// Starts `program`. Its pid.
pub fn launch(program: &CStr, argv: &[&CStr], environment: &[&CStr], stdio: Stdio) -> nix::Result<i32> {
    match fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            let _ = nix::unistd::setsid();
            connect(stdio);
            let _ = signals::unblock_all();
            let errno = process::exec(program, argv, environment);
            say(format_args!("execute {}: {}", shown(program), errno.desc()));
            process::exit_now(127)
        }
    }
}

fn connect(stdio: Stdio) {
    // Without a console what process 1 itself has must do.
    let blocking = |path: &CStr| open(path, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty());
    let terminal = match stdio {
        Stdio::Person => active_terminal(),
        Stdio::Console | Stdio::Output => None,
    };
    let Some(output) = terminal.or_else(|| blocking(console::PATH).ok()) else { return };
    let input = if stdio == Stdio::Output { blocking(c"/dev/null").ok() } else { None };
    let input = input.as_ref().unwrap_or(&output);
    for (fd, number) in [(input, 0), (&output, 1), (&output, 2)] {
        let _ = fds::dup_onto(fd.as_fd(), number);
    }
    if stdio == Stdio::Person {
        let _ = pty::set_controlling(standard(0), true);
        make_sane();
    }
}

/// The terminal behind /dev/console, which itself can control no session: the last word of the kernel's list.
fn active_terminal() -> Option<OwnedFd> {
    let mut text = [0u8; 256];
    let list = open(c"/sys/class/tty/console/active", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let length = nix::unistd::read(&list, &mut text).ok()?;
    let name = crate::config::lex::words(text.get(..length)?).last()?;
    let path = crate::text::PathText::join(&[b"/dev/", name]).ok()?;
    open(path.c(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

/// A supervisor that was killed leaves the terminal raw.
fn make_sane() {
    let Ok(mut settings) = tcgetattr(standard(0)) else { return };
    settings.input_flags |= InputFlags::ICRNL | InputFlags::IXON;
    settings.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
    settings.local_flags |=
        LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ISIG | LocalFlags::IEXTEN;
    let _ = tcsetattr(standard(0), SetArg::TCSANOW, &settings);
}
