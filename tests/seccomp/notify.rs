//! Calls that a policy hands over, and the proxy that decides about them.

use super::{call, under};
use crate::support::{Guest, wait_until};
use monopod::sys::rights;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, listen, send, socket,
};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

/// `struct seccomp_notif` and `struct seccomp_notif_resp`.
const CALL: usize = 80;
const ANSWER: usize = 24;
const HEAD: usize = 32;

fn bound(path: &Path) -> OwnedFd {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&socket, Backlog::new(4).unwrap()).unwrap();
    socket
}

fn connection(proxy: &OwnedFd) -> OwnedFd {
    let fd = accept4(proxy.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap();
    // SAFETY: it is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The next message and its descriptors; None at the end.
fn next(connection: &OwnedFd) -> Option<(Vec<u8>, heapless::Vec<OwnedFd, { rights::MOST }>)> {
    let mut ready = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::from(30_000u16)).unwrap();
    let (mut bytes, mut fds) = (vec![0; 1024], heapless::Vec::new());
    let length = rights::receive(connection.as_fd(), &mut bytes, &mut fds).unwrap();
    bytes.truncate(length);
    (length > 0).then_some((bytes, fds))
}

/// Answers every call of a connection with `error`, or lets it go on for 0; what was asked.
fn serve(proxy: OwnedFd, error: i32) -> JoinHandle<Vec<Vec<u8>>> {
    std::thread::spawn(move || {
        let connection = connection(&proxy);
        let mut asked = Vec::new();
        while let Some((bytes, fds)) = next(&connection) {
            assert_eq!(fds.len(), 3);
            let mut reply = bytes[..HEAD + CALL].to_vec();
            reply.extend_from_slice(&bytes[HEAD..HEAD + 8]);
            reply.extend_from_slice(&0u64.to_ne_bytes());
            reply.extend_from_slice(&error.to_ne_bytes());
            reply.extend_from_slice(&u32::from(error == 0).to_ne_bytes());
            send(connection.as_raw_fd(), &reply, MsgFlags::MSG_NOSIGNAL).unwrap();
            asked.push(bytes);
        }
        asked
    })
}

const POLICY: &str = "2\ndenylist\ngetpriority notify\n";

fn asking(label: &str, policy: &str) -> (Guest, OwnedFd) {
    let guest = under(label, policy);
    let path = guest.dir().join("proxy");
    let proxy = bound(&path);
    (guest.config(&format!("lxc.seccomp.notify.proxy = unix:{}", path.display())), proxy)
}

#[test]
fn notify_proxy_decides_about_each_call() {
    let test = "notify_proxy_decides_about_each_call";
    if !crate::guard::available(test) {
        return;
    }
    let step = call(libc::SYS_getpriority, &[0, 1]);
    for (error, said) in [(-77, "File descriptor in bad state"), (0, "ok")] {
        let (guest, proxy) = asking("notify", POLICY);
        let guest = guest.config("lxc.seccomp.notify.cookie = biscuit");
        let served = serve(proxy, error);
        let ended = guest.run(&format!("{step} , {step}"));
        assert_eq!(guest.results(), format!("{step}: {said}\n").repeat(2), "{ended}");
        guest.assert_nothing_left();
        let asked = served.join().unwrap();
        assert_eq!(asked.len(), 2);
        for message in &asked {
            assert_eq!(message.len(), HEAD + CALL + ANSWER + 7);
            assert_eq!(message[16..22], [80, 0, 24, 0, 64, 0]);
            assert_eq!(message[24..32], 7u64.to_ne_bytes());
            assert_eq!(message[HEAD + 16..HEAD + 20], (libc::SYS_getpriority as i32).to_ne_bytes());
            assert_eq!(message[HEAD..HEAD + 8], message[HEAD + CALL..HEAD + CALL + 8]);
            assert!(message.ends_with(b"biscuit"));
        }
    }
}

#[test]
fn notify_proxy_that_answers_nonsense_or_ends_leaves_enosys() {
    let test = "notify_proxy_that_answers_nonsense_or_ends_leaves_enosys";
    if !crate::guard::available(test) {
        return;
    }
    let (guest, proxy) = asking("nonsense", POLICY);
    let thread = std::thread::spawn(move || {
        let first = connection(&proxy);
        next(&first).unwrap();
        send(first.as_raw_fd(), b"nonsense", MsgFlags::MSG_NOSIGNAL).unwrap();
        // It tries once more, and nobody is there.
        let second = connection(&proxy);
        drop(proxy);
        next(&second).unwrap();
    });
    let step = call(libc::SYS_getpriority, &[0, 1]);
    let ended = guest.run(&format!("{step} , {step} , {step}"));
    assert_eq!(guest.results(), format!("{step}: Function not implemented\n").repeat(3), "{ended}");
    thread.join().unwrap();
    guest.assert_nothing_left();
}

#[test]
fn notify_without_what_it_needs_is_refused() {
    let test = "notify_without_what_it_needs_is_refused";
    if !crate::guard::available(test) {
        return;
    }
    let nobody = under("nobody", POLICY);
    let nobody = nobody.config("lxc.seccomp.notify.proxy = unix:/nobody/is/here");
    for (guest, says) in [
        (under("no_proxy", POLICY), "needs lxc.seccomp.notify.proxy"),
        (under("address", POLICY).config("lxc.seccomp.notify.proxy = tcp:1"), "expected unix:/PATH"),
        (nobody, "unix:/nobody/is/here: No such file or directory"),
        (under("with_guard", POLICY).config("lxc.seccomp.notify.proxy = unix:/x\nmonopod.protect = 1"), "one listener"),
    ] {
        let ended = guest.run("say no");
        assert_eq!((ended.code, guest.results().as_str()), (Some(255), ""), "{ended}");
        assert!(ended.stderr.contains(says), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn notify_proxys_clerk_ends_with_the_supervisor() {
    let test = "notify_proxys_clerk_ends_with_the_supervisor";
    if !crate::guard::available(test) {
        return;
    }
    let (guest, proxy) = asking("clerk", POLICY);
    let served = serve(proxy, 0);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    running.signal(libc::SIGKILL);
    // The end of its connection is its end.
    let mut served = Some(served);
    wait_until("the clerk's end", || served.as_ref().unwrap().is_finished());
    assert!(served.take().unwrap().join().unwrap().is_empty());
    running.wait();
    guest.clean_up();
}
