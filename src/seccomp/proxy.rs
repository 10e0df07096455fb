//! Calls that a policy hands over (`notify`), taken to `lxc.seccomp.notify.proxy` as LXC takes them there.
//!
//! A process of its own does it, because the proxy takes its time: for each call one message with the caller's directory and
//! memory in /proc and the listener beside it, and one message back. It ends with the container or the supervisor. A call about
//! which nothing can be learnt ends in ENOSYS.

use crate::config::{At, Config};
use crate::error::{Error, Result};
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open};
use crate::sys::process::{self, exit_now};
use crate::sys::rights;
use crate::sys::seccomp::{self, Raw};
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, setsockopt, socket, sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How long the proxy may take for one call, in seconds; as in LXC.
const PATIENCE_S: i64 = 30;
/// LXC's head of a message (`struct seccomp_notify_proxy_msg`).
const HEAD: usize = 32;
/// Longest `lxc.seccomp.notify.cookie`.
const COOKIE: usize = 512;

/// A message: its head, the call and room for the answer, the cookie.
type Message = heapless::Vec<u8, { HEAD + 2 * 256 + COOKIE }>;

/// Looks whether the config has what a policy with `notify` needs.
pub fn check(config: &Config<'_>, profile: At<&CStr>) -> Result<()> {
    let refuse = |what: core::fmt::Arguments<'_>| {
        Err(Error::new("seccomp", format_args!("{}: {what}", config.place(profile.at))))
    };
    if crate::guard::filter::Wanted::of(&config.own).listens() {
        return refuse(format_args!(
            "the policy's notify cannot be had beside monopod.protect and monopod.reboot: the kernel has one listener for a process"
        ));
    }
    if let Err(errno) = seccomp::has_notifications() {
        let what = format_args!("{}: the policy's notify needs Linux 5.7", config.place(profile.at));
        return Err(Error::os("seccomp", errno, what));
    }
    let Some(proxy) = config.isolation.seccomp_proxy else {
        return refuse(format_args!("the policy's notify needs lxc.seccomp.notify.proxy = unix:/PATH"));
    };
    if address(config).is_none() || config.isolation.seccomp_cookie.is_some_and(|cookie| cookie.count_bytes() > COOKIE)
    {
        let place = config.place(proxy.at);
        let what = format_args!("{place}: lxc.seccomp.notify.proxy = {}: expected unix:/PATH", shown(proxy.value));
        return Err(Error::new("seccomp", what));
    }
    Ok(())
}

fn address(config: &Config<'_>) -> Option<UnixAddr> {
    let path = config.isolation.seccomp_proxy?.value.to_bytes().strip_prefix(b"unix:")?;
    path.starts_with(b"/").then(|| UnixAddr::new(path).ok())?
}

/// A connection whose messages have a deadline. A proxy that is too busy to accept is none.
fn reach(config: &Config<'_>) -> nix::Result<OwnedFd> {
    let address = address(config).ok_or(Errno::EINVAL)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let proxy = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(proxy.as_raw_fd(), &address)?;
    fcntl(&proxy, FcntlArg::F_SETFL(OFlag::empty()))?;
    let patience = TimeVal::seconds(PATIENCE_S);
    setsockopt(&proxy, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&proxy, sockopt::SendTimeout, &patience)?;
    Ok(proxy)
}

fn failed(config: &Config<'_>) -> impl Fn(Errno) -> Error {
    let proxy = config.isolation.seccomp_proxy.map_or(c"?", |proxy| proxy.value);
    move |errno| Error::os("seccomp", errno, format_args!("lxc.seccomp.notify.proxy = {}", shown(proxy)))
}

/// The process that asks.
#[derive(Default)]
pub struct Proxy {
    reached: Option<OwnedFd>,
    pid: Option<i32>,
}

impl Proxy {
    /// Reaches the proxy while init waits: without one it must not run.
    #[inline(never)] // for those who have one
    pub fn reach(&mut self, config: &Config<'_>) -> Result<()> {
        self.reached = Some(reach(config).map_err(failed(config))?);
        Ok(())
    }

    /// Begins with the container whose listener this is.
    #[inline(never)] // for those who have one
    pub fn begin(&mut self, listener: &OwnedFd, init: i32, config: &Config<'_>) -> Result<()> {
        let failed = failed(config);
        let sizes = seccomp::sizes().map_err(&failed)?;
        let proxy = self.reached.take().ok_or(Errno::ENOTCONN).map_err(&failed)?;
        let supervisor = nix::unistd::getpid().as_raw();
        match fork().map_err(&failed)? {
            Fork::Child => {
                Clerk { listener: listener.as_fd(), config, ids: [supervisor, init], sizes }.work(Some(proxy))
            }
            Fork::Parent(pid) => self.pid = Some(pid),
        }
        Ok(())
    }

    /// The life is over.
    pub fn end(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = process::kill(pid, libc::SIGKILL);
            let _ = process::wait(pid);
        }
    }
}

/// What that process knows.
struct Clerk<'a> {
    listener: BorrowedFd<'a>,
    config: &'a Config<'a>,
    /// The supervisor's pid and init's.
    ids: [i32; 2],
    sizes: [u16; 3],
}

impl Clerk<'_> {
    #[inline(never)] // its frame is that process's alone
    fn work(&self, mut proxy: Option<OwnedFd>) -> ! {
        let _ = process::set_parent_death_signal(libc::SIGKILL);
        let mut keep = [self.listener.as_raw_fd(), proxy.as_ref().map_or(-1, AsRawFd::as_raw_fd)];
        let _ = fds::close_all_but(3, &mut keep);
        loop {
            let mut ready = [PollFd::new(self.listener, PollFlags::POLLIN)];
            let _ = poll(&mut ready, PollTimeout::NONE);
            let [ready] = ready;
            if !ready.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                // Nobody is under the policy any more.
                exit_now(0);
            }
            // Else its caller is gone.
            if let Ok(call) = Raw::receive(self.listener)
                && self.ask(&call, &mut proxy).is_err()
            {
                proxy = None;
                let _ = seccomp::answer(self.listener, call.id(), Errno::ENOSYS as i32);
            }
        }
    }

    /// Asks about one call and answers it.
    fn ask(&self, call: &Raw, proxy: &mut Option<OwnedFd>) -> nix::Result<()> {
        let [call_size, answer_size, _] = self.sizes.map(usize::from);
        let message = self.message(call).ok_or(Errno::E2BIG)?;
        let directory = in_proc(call.pid(), "", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let memory = in_proc(call.pid(), "/mem", OFlag::O_RDWR)?;
        if !seccomp::is_waiting(self.listener, call.id()) {
            // Its caller is gone, and these may be another's.
            return Ok(());
        }
        let beside = [directory.as_fd(), memory.as_fd(), self.listener];
        let sent = proxy.as_ref().map(|proxy| rights::send(proxy.as_fd(), &message, &beside));
        if sent != Some(Ok(())) {
            // It may have been started anew.
            let again = reach(self.config)?;
            rights::send(again.as_fd(), &message, &beside)?;
            *proxy = Some(again);
        }
        let proxy = proxy.as_ref().ok_or(Errno::ENOTCONN)?;
        let mut reply = [0; HEAD + 2 * 256];
        let length = recv(proxy.as_raw_fd(), &mut reply, MsgFlags::MSG_TRUNC)?;
        let answer = reply.get(HEAD + call_size..HEAD + call_size + answer_size).unwrap_or_default();
        if length != HEAD + call_size + answer_size || answer.get(..8) != Some(&call.id().to_ne_bytes()) {
            return Err(Errno::EBADMSG);
        }
        // An answer to a caller that is gone is no matter.
        let _ = Raw::respond(self.listener, answer);
        Ok(())
    }

    fn message(&self, call: &Raw) -> Option<Message> {
        let [call_size, answer_size, _] = self.sizes.map(usize::from);
        let cookie = self.config.isolation.seccomp_cookie.map_or(&b""[..], CStr::to_bytes);
        let mut message = Message::new();
        message.extend_from_slice(&[0; 8]).ok()?;
        for id in self.ids {
            message.extend_from_slice(&id.to_ne_bytes()).ok()?;
        }
        for size in self.sizes {
            message.extend_from_slice(&size.to_ne_bytes()).ok()?;
        }
        message.extend_from_slice(&[0; 2]).ok()?;
        message.extend_from_slice(&(cookie.len() as u64).to_ne_bytes()).ok()?;
        for byte in call.bytes(call_size) {
            message.push(byte).ok()?;
        }
        message.extend_from_slice(&call.id().to_ne_bytes()).ok()?;
        message.resize(HEAD + call_size + answer_size, 0).ok()?;
        message.extend_from_slice(cookie).ok()?;
        Some(message)
    }
}

fn in_proc(pid: i32, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = PathText::format(format_args!("/proc/{pid}{name}")).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), flags | OFlag::O_CLOEXEC, Mode::empty())
}
