//! `monitor`: tells every change of state and every exit of containers, as they happen.
//!
//! A container that runs is followed over its command socket; the directory of locks shows, by inotify, that another supervisor
//! begins. Nothing is polled but a supervisor that has its lock and not yet its socket, for a moment.

use super::prepass::Operands;
use super::regex::Regex;
use super::{Call, Outcome, containers, lxcpath, parse, put};
use crate::control::client::{Container, Failure, Watch, Watched};
use crate::control::proto::{News, Wanted};
use crate::prepare::lock;
use crate::state::State;
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::time::Duration;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

/// How long a new supervisor may take from its lock to its socket.
const BIRTH: Duration = Duration::from_secs(5);
/// How often its socket is looked for meanwhile, in milliseconds.
const LOOK_MS: u8 = 20;

/// Tells changes of state and exits of containers until it is interrupted. Without a name, of all; the name may be a pattern.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// LXC's daemon for this: there is none to be ended
    #[argh(switch, short = 'Q')]
    quit: bool,
}

/// A container that is followed.
struct Followed {
    name: CString,
    watch: Watch,
    /// Of LXC's supervisor, which tells one state a connection, and no exits.
    once: bool,
}

struct Monitor<'a> {
    lxcpath: &'a CStr,
    followed: Vec<Followed>,
    /// Names whose supervisors have begun, and until when they are looked for.
    expected: Vec<(CString, Instant)>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let line = parse::<Args>(call, Operands::Anywhere, "")?;
    if line.args.quit {
        return Ok(0);
    }
    let wanted = line.common.name.or(line.operands.first().copied()).unwrap_or(c".*");
    let pattern = Regex::new(&format!("^({})$", wanted.to_string_lossy()))
        .map_err(|reason| line.fail(format_args!("the name '{}': {reason}", shown(wanted))))?;
    let failed = |what: &str, errno: nix::errno::Errno| line.fail(format_args!("{what}: {}", errno.desc()));
    let directory = lock::base().map_err(|error| line.fail(format_args!("{error}")))?;
    let births = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|e| failed("inotify", e))?;
    births.add_watch(directory.c(), AddWatchFlags::IN_CREATE).map_err(|e| failed("inotify", e))?;
    let fits = |name: &CStr| pattern.matches(name.to_bytes());
    let mut monitor = Monitor { lxcpath: lxcpath(&line.common), followed: Vec::new(), expected: Vec::new() };
    for name in containers::active(monitor.lxcpath, &containers::defined(monitor.lxcpath)) {
        if fits(&name) {
            monitor.follow(&name, false);
        }
    }
    loop {
        monitor.wait(&births).map_err(|e| failed("poll", e))?;
        for event in births.read_events().unwrap_or_default() {
            let name = event.name.and_then(|name| CString::new(name.into_vec()).ok());
            if let Some(name) = name.filter(|name| fits(name)) {
                monitor.expected.push((name, Instant::now() + BIRTH));
            }
        }
        monitor.look_for_expected();
    }
}

impl Monitor<'_> {
    /// Waits for news, and tells them.
    fn wait(&mut self, births: &Inotify) -> nix::Result<()> {
        let wanted = PollFlags::POLLIN;
        let mut fds = vec![PollFd::new(births.as_fd(), wanted)];
        fds.extend(self.followed.iter().map(|one| PollFd::new(one.watch.as_fd(), wanted)));
        let timeout = if self.expected.is_empty() { PollTimeout::NONE } else { PollTimeout::from(LOOK_MS) };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready: Vec<bool> = fds.iter().skip(1).map(|fd| fd.any().unwrap_or(false)).collect();
        for index in (0..ready.len()).rev().filter(|index| ready.get(*index) == Some(&true)) {
            let Followed { name, watch, once } = self.followed.swap_remove(index);
            match watch.news(Some(Instant::now() + BIRTH)) {
                Ok(Some(news)) => {
                    tell(&name, news);
                    if !once {
                        self.followed.push(Followed { name, watch, once });
                    } else if !self.follow(&name, true) && news != News::State(State::Stopped) {
                        // It went before it could be asked for the next.
                        tell(&name, News::State(State::Stopped));
                    }
                }
                // Of our own supervisors STOPPED has come already; LXC's just go.
                _ if once => tell(&name, News::State(State::Stopped)),
                _ => {}
            }
        }
        Ok(())
    }

    /// A supervisor that has begun binds its socket a moment later.
    fn look_for_expected(&mut self) {
        let now = Instant::now();
        for (name, until) in core::mem::take(&mut self.expected) {
            if !self.follow(&name, true) && until > now {
                self.expected.push((name, until));
            }
        }
    }

    /// Follows a container, if it has a supervisor. `new`: its present state is news.
    fn follow(&mut self, name: &CStr, new: bool) -> bool {
        let container = Container { lxcpath: self.lxcpath, name };
        let (watch, once) = match container.follow() {
            Ok((state, watch)) => {
                if new && state != State::Stopped {
                    tell(name, News::State(state));
                }
                (watch, false)
            }
            Err(Failure::Refused(_)) => {
                let any = State::ALL.into_iter().fold(Wanted::default(), Wanted::with_next);
                match container.watch(any) {
                    Ok(Watched::Waiting(watch)) => (watch, true),
                    _ => return false,
                }
            }
            Err(_) => return false,
        };
        self.followed.push(Followed { name: name.to_owned(), watch, once });
        true
    }
}

/// As lxc-monitor prints it.
fn tell(name: &CStr, news: News) {
    let name = shown(name);
    put(
        1,
        &match news {
            News::State(state) => format!("'{name}' changed state to [{}]\n", state.name()),
            News::Exit(status) => format!("'{name}' exited with status [{}]\n", status >> 8 & 0xff),
            News::Ready => format!("'{name}' is ready\n"),
        },
    );
}
