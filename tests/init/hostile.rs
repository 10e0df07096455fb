//! What an init that means harm does.

use crate::{forever, number, say};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;

/// The steps' names.
pub const STEPS: [&str; 7] = ["exit-counting", "fault", "hang-up", "inject", "print-hex", "reach-out", "unanswered"];

/// One step.
pub fn run(verb: &str, args: &[&str]) {
    match (verb, args) {
        // Exits with 0, 1, 2, ... in one life after the other.
        ("exit-counting", []) => {
            let code: i32 = fs::read_to_string("/count").map_or(0, |text| number(text.trim()));
            fs::write("/count", (code + 1).to_string()).unwrap();
            std::process::exit(code);
        }
        ("fault", [name]) => fault(name),
        // Does all to its terminal that may upset who has the other end, and leaves it.
        ("hang-up", []) => {
            // SAFETY: these take numbers only; nobody uses what is closed.
            unsafe {
                libc::ioctl(0, libc::TIOCEXCL);
                libc::ioctl(0, libc::TCXONC, 0);
                libc::ioctl(0, libc::TIOCSCTTY, 1);
                libc::vhangup();
                (0..3).for_each(|fd| {
                    libc::close(fd);
                });
            }
            for path in ["/dev/console", "/dev/tty1"] {
                (0..3).for_each(|_| drop(fs::File::options().read(true).write(true).open(path)));
            }
            say("hung up");
        }
        ("inject", []) => inject(),
        ("print-hex", [text]) => {
            let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
            std::io::stdout().write_all(&bytes).unwrap();
        }
        ("reach-out", []) => reach_out(),
        // A filesystem at a path, whose files nobody serves: whoever looks for one waits.
        ("unanswered", [path]) => {
            fs::create_dir_all(path).unwrap();
            let (kind, mode) = (SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR);
            mknod("/fuse", kind, mode, makedev(10, 229)).unwrap();
            let device = fs::File::options().read(true).write(true).open("/fuse").unwrap();
            let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
            mount(Some("x"), *path, Some("fuse"), MsFlags::empty(), Some(data.as_str())).unwrap();
            std::mem::forget(device);
            fs::remove_file("/fuse").unwrap();
        }
        _ => {
            eprintln!("init: no such step: {verb} {args:?}");
            std::process::exit(99)
        }
    }
}

/// Signals that the kernel forces on a pid 1, too.
fn fault(name: &str) {
    match name {
        "ill" => illegal(),
        "bus" => {
            let file = fs::File::create_new("/short").unwrap();
            let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
            let fd = file.as_raw_fd();
            // SAFETY: none, that is the purpose: what is mapped lies behind the file's end.
            unsafe {
                let start = libc::mmap(std::ptr::null_mut(), 4096, read, shared, fd, 0);
                start.cast::<u8>().read_volatile();
            }
        }
        "kill" => {
            // SAFETY: from here on only read, write and exit are allowed, and what follows is none of them.
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
            forever();
        }
        other => panic!("no such fault: {other}"),
    }
}

fn illegal() {
    // SAFETY: none, that is the purpose.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2");
        #[cfg(not(target_arch = "x86_64"))]
        std::arch::asm!("udf #0");
    }
}

/// Tries to type into the terminal that it has, in all the ways there are, also with a number that a filter of 64 bits would not
/// know; then to take it for its session.
fn inject() {
    const TIOCLINUX: libc::c_ulong = 0x541c;
    let byte = b'X';
    for number in [libc::TIOCSTI as libc::c_ulong, TIOCLINUX] {
        for high in [0u64, 1 << 32] {
            // SAFETY: the kernel reads one byte, or a few of what follows it in this program's data.
            unsafe { libc::syscall(libc::SYS_ioctl, 0, (u64::from(number as u32) | high) as libc::c_ulong, &byte) };
        }
    }
    // SAFETY: no memory is passed.
    unsafe { libc::ioctl(0, libc::TIOCSCTTY, 1) };
    say("injected");
}

/// What can be had of whoever made this process: its pid, and a trace of anything in sight.
fn reach_out() {
    // SAFETY: these take numbers only.
    let (parent, traced) =
        unsafe { (libc::getppid(), (2..100).filter(|pid| libc::ptrace(libc::PTRACE_ATTACH, *pid, 0, 0) == 0).count()) };
    let up = std::env::set_current_dir("../../../..").and_then(|()| fs::read_dir("."));
    let mut names: Vec<_> = up.unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let fds = (0..1024).filter(|fd| nix::fcntl::fcntl(crate::borrowed(*fd), nix::fcntl::FcntlArg::F_GETFD).is_ok());
    say(&format!("parent {parent}, traced {traced}, descriptors {:?}, above {names:?}", fds.collect::<Vec<_>>()));
}
