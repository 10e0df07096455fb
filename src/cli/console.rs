//! `console`: a tty of a container, or its console, on our terminal.

use super::prepass::Operands;
use super::{Call, Outcome, parse, put};
use crate::control::client::{Container, Failure};
use crate::control::proto::Command;
use crate::sys::fds;
use crate::terminal::{self, End, Raw, Relay};
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::os::fd::AsFd;

/// Connects our terminal to a tty of a running container, or with -t 0 to its console. Exit code: 1 if there is none.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// number of the tty; 0 = the console; without it the next free tty
    #[argh(option, short = 't', arg_name = "N")]
    tty: Option<u32>,
    /// letter of the key that leads out with a q behind it: Ctrl and this one, a by itself; '-1' for none
    #[argh(option, short = 'e', arg_name = "LETTER", from_str_fn(escape))]
    escape: Option<Option<u8>>,
    /// print the last lines of the console (lxc.console.buffer.size) and go
    #[argh(switch)]
    log: bool,
}

/// argh: the control character of a letter (`a`, `^a`).
fn escape(text: &str) -> Result<Option<u8>, String> {
    match text.as_bytes() {
        b"-1" => Ok(None),
        [b'^', letter] | [letter] if letter.is_ascii_alphabetic() => Ok(Some(letter & 0x1f)),
        _ => Err(format!("'{text}' is no letter")),
    }
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let container = target.container();
    let name = shown(target.name);
    if line.args.log {
        return show_log(&container).map_err(|failure| match failure {
            Failure::Refused(Errno::EFAULT) => {
                line.fail(format_args!("'{name}' keeps no console log: lxc.console.buffer.size is not set"))
            }
            other => line.fail(format_args!("console of '{name}': {other}")),
        });
    }
    let wanted = line.args.tty.map_or(-1, |number| i32::try_from(number).unwrap_or(i32::MAX));
    let tty = container.tty(wanted).map_err(|failure| match failure {
        Failure::NotRunning => line.fail(format_args!("'{name}' is not running")),
        Failure::Refused(Errno::EBADF) | Failure::Closed => {
            line.fail(format_args!("'{name}' has no such tty, or it is taken (lxc.tty.max)"))
        }
        Failure::Refused(Errno::EBUSY) => line.fail(format_args!("too many clients look at the console of '{name}'")),
        other => line.fail(format_args!("console of '{name}': {other}")),
    })?;
    let escape = line.args.escape.unwrap_or(Some(1));
    greet(tty.number, escape);
    let os = |errno: Errno| line.fail(format_args!("console of '{name}': {}", errno.desc()));
    let signals = terminal::signals().map_err(os)?;
    let (input, output) = (terminal::stream(0).map_err(os)?, terminal::stream(1).map_err(os)?);
    let flags = fcntl(&tty.fd, FcntlArg::F_GETFL).map_err(os)?;
    fcntl(&tty.fd, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK)).map_err(os)?;
    let far = tty.fd.try_clone().map_err(|_| os(Errno::EMFILE))?;
    let _raw = Raw::enter(input.as_fd());
    let mut relay = Relay::new(Some(far), Some(input.as_fd()), output.as_fd());
    if call.stock {
        relay.end_with_input();
    }
    if let Some(key) = escape {
        relay.escape(key);
    }
    relay.lifeline(tty.connection.as_fd());
    relay.resize();
    // The supervisor relays the console, and cannot see the size of ours by itself.
    let console = tty.number == 0;
    let tell_size = || drop(container.ask(Command::TerminalWinch, &[]));
    if console {
        tell_size();
    }
    let end = relay.run(&signals, &mut |signal| {
        if signal == libc::SIGWINCH && console {
            tell_size();
        }
        terminal::ends_us(signal)
    });
    if end == End::FarClosed && !call.stock {
        put(2, "\r\nthe container has closed it\r\n");
    }
    Ok(0)
}

/// As lxc-console greets.
fn greet(number: i32, escape: Option<u8>) {
    let key = escape.map(|key| char::from(key | 0x60));
    let help = key.map(|key| {
        format!("Type <Ctrl+{key} q> to exit the console, <Ctrl+{key} Ctrl+{key}> to enter Ctrl+{key} itself\n")
    });
    put(2, &format!("\nConnected to tty {number}\n{}", help.unwrap_or_default()));
}

/// What the supervisor remembers of the console, part by part.
fn show_log(container: &Container<'_>) -> Result<i32, Failure> {
    let mut from = 0_u64;
    loop {
        let text = container.ask(Command::ConsoleTail, &from.to_ne_bytes())?.body;
        if text.is_empty() {
            return Ok(0);
        }
        from += text.len() as u64;
        let mut rest = text.as_slice();
        while let Ok(written @ 1..) = nix::unistd::write(fds::standard(1), rest) {
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}
