//! `/init` of the tests: one static program that plays every guest the tests need.
//!
//! It runs the steps of its command line in order, `/init STEP ARG... , STEP ARG...`, as pid 1 of a container whose root
//! may hold nothing but this file. What a test wants to know is written to `/results` (one line a fact) or, by `report`,
//! to `/report`; the test reads both from the host. When the steps are used up it exits with 0. Where its root has an
//! `/android.conf` it is an Android init instead (`android`).
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod android;
mod area;
mod calls;
mod guard;
mod host;
mod hostile;
mod properties;
mod ready;
mod report;

// For its answers to std's questions about unwinding, in a build that leaves the unwinder out.
#[cfg(unwind_stub)]
use monopod as _;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd::ForkResult;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(options) = android::Options::read("/android.conf") {
        android::run(options, &words);
    }
    if words.is_empty() || words == ["second_stage"] {
        // As Android's is called.
        return report::write("/report");
    }
    for step in words.split(|word| word == ",") {
        let Some((verb, args)) = step.split_first() else { continue };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(verb, &args);
    }
}

/// One step. A step that makes no sense ends the program with 99, a code that no test expects.
fn run(verb: &str, args: &[&str]) {
    match (verb, args) {
        ("exit", [code]) => std::process::exit(number(code)),
        ("sleep", [ms]) => sleep(Duration::from_millis(number(ms))),
        ("forever", []) => forever(),
        ("await-file", [path]) => {
            while !Path::new(path).exists() {
                sleep(Duration::from_millis(5));
            }
        }
        ("crash", []) => crash(),

        // reboot(2), with which a pid namespace ends by SIGHUP (restart) or SIGINT (halt, poweroff).
        ("restart" | "restart2" | "halt" | "poweroff", []) => reboot(verb),
        ("by-grandchild", [verb]) => by_grandchild(verb),
        ("restart-times", [count]) => counted(number(count), || reboot("restart")),
        ("ro-restart-times", [count]) => counted(number(count), || {
            remount_ro();
            reboot("restart");
        }),
        ("exit-times", [count, code]) => counted(number(count), || std::process::exit(number(code))),

        // What it can see and do.
        ("report", []) => report::write("/report"),
        ("say", words) => say(&words.join(" ")),
        ("read", [path]) => {
            say(&format!("read {path}: {}", outcome(fs::read_to_string(path).map(|t| t.trim().into()))))
        }
        ("write", [path, text]) => say(&format!("write {path}: {}", outcome(write(path, text)))),
        ("rename", [from, to]) => {
            say(&format!("rename {from}: {}", outcome(fs::rename(from, to).map(|()| "ok".into()))))
        }
        ("remount-rw", [path]) => say(&format!("remount-rw {path}: {}", outcome(remount_rw(path)))),
        ("mknod", [path, major, minor]) => {
            say(&format!("mknod {path}: {}", outcome(mknod(path, number(major), number(minor)))))
        }
        ("kmsg", words) => kmsg(&words.join(" ")),
        ("sethostname", [name]) => say(&format!("sethostname: {}", outcome(done(nix::unistd::sethostname(name))))),

        // Mounts, and what they may uncover.
        (verb, args) if guard::STEPS.contains(&verb) => guard::run(verb, args),

        // To the harm of others.
        (verb, args) if hostile::STEPS.contains(&verb) => hostile::run(verb, args),

        // System calls by their numbers: call NUMBER [ARGUMENT...].
        ("call" | "call-32", [_, ..]) => calls::run(verb, args),

        // The console.
        ("print", words) => println!("{}", words.join(" ")),
        ("spew", [bytes]) => spew(number(bytes)),
        ("echo", [lines]) => echo(number(lines)),
        ("print-to", [path, text]) => say(&format!("print-to {path}: {}", outcome(write(path, &format!("{text}\n"))))),

        // Signals and processes.
        ("signals", [count]) => signals(number(count)),
        ("forks", [count]) => forks(number(count)),
        ("orphans", [count]) => orphans(number(count)),
        ("kill-all", []) => kill_all(),
        ("signal-init", [signal]) => signal_init(number(signal)),
        ("properties", [reply]) => properties::serve(reply),
        ("eat", [bytes]) => eat(number(bytes)),
        ("ready", args) => ready::run(args),

        // On the side of an emulated host.
        ("set-property", [socket, name, value]) => host::set_property(socket, name, value),
        ("without-listeners", command) => host::without_listeners(command),
        _ => {
            eprintln!("init: no such step: {verb} {args:?}");
            std::process::exit(99)
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| {
        eprintln!("init: not a number: {text}");
        std::process::exit(99)
    })
}

/// Appends one line to `/results`. Where the root is read-only the console gets it.
fn say(line: &str) {
    let file = fs::OpenOptions::new().create(true).append(true).open("/results");
    match file {
        Ok(mut file) => file.write_all(format!("{line}\n").as_bytes()).unwrap(),
        Err(_) => println!("{line}"),
    }
}

/// `ok`, a text, or the errno's text.
fn outcome(result: io::Result<String>) -> String {
    match result {
        Ok(text) => text,
        Err(e) => errno_text(&e),
    }
}

fn errno_text(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), |errno| nix::errno::Errno::from_raw(errno).desc().to_owned())
}

fn done<T>(result: nix::Result<T>) -> io::Result<String> {
    result.map(|_| "ok".into()).map_err(io::Error::from)
}

/// True in the child.
fn fork() -> bool {
    // SAFETY: this program has one thread.
    let forked = unsafe { nix::unistd::fork() };
    forked.unwrap().is_child()
}

fn write(path: &str, text: &str) -> io::Result<String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(!Path::new(path).exists());
    options.open(path)?.write_all(text.as_bytes())?;
    Ok("ok".into())
}

fn remount_rw(path: &str) -> io::Result<String> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    done(mount(None::<&str>, path, None::<&str>, flags, None::<&str>))
}

/// Makes the filesystem of `/` read-only, as inits do when they go down.
fn remount_ro() {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
}

fn mknod(path: &str, major: u64, minor: u64) -> io::Result<String> {
    done(stat::mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, stat::makedev(major, minor)))
}

/// Says something to the kernel's log, as a process of priority 14 (user, info), through a node of its own.
fn kmsg(text: &str) {
    let _ = mknod("/kmsg", 1, 11);
    // As Android's: a record in one write, whose newline lets readers have it at once.
    let record = format!("<14>{text}\n");
    let written =
        fs::OpenOptions::new().write(true).open("/kmsg").and_then(|mut file| file.write_all(record.as_bytes()));
    if let Err(error) = written {
        say(&format!("kmsg: {}", errno_text(&error)));
    }
}

/// Waits and reaps, as an init should.
fn forever() {
    loop {
        while nix::sys::wait::wait().is_ok() {}
        sleep(Duration::from_secs(3600));
    }
}

/// Dies by SIGSEGV. (Signals that pid 1 sends to itself with kill are ignored; a fault is not.)
fn crash() {
    // SAFETY: none, that is the purpose: the kernel ends the process here.
    unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
}

fn reboot(how: &str) {
    // SAFETY: the magic numbers and the command are the kernel's, the text ends with a NUL.
    let result = unsafe {
        match how {
            "restart" => libc::reboot(libc::RB_AUTOBOOT),
            "halt" => libc::reboot(libc::RB_HALT_SYSTEM),
            "poweroff" => libc::reboot(libc::RB_POWER_OFF),
            _ => libc::syscall(
                libc::SYS_reboot,
                libc::LINUX_REBOOT_MAGIC1,
                libc::LINUX_REBOOT_MAGIC2,
                libc::LINUX_REBOOT_CMD_RESTART2,
                c"recovery".as_ptr(),
            ) as libc::c_int,
        }
    };
    say(&format!("{how}: {}", outcome(done(nix::errno::Errno::result(result)))));
    // The kernel kills pid 1 on its own time.
    forever();
}

/// Calls reboot(2) from a process whose parent is gone, not from pid 1.
fn by_grandchild(how: &str) {
    if fork() {
        if fork() {
            reboot(how);
        }
        std::process::exit(0);
    }
    forever();
}

/// Ends this way as long as fewer than `count` such ends are on record in `/count`, then goes on with the next step.
fn counted(count: u32, mut end: impl FnMut()) {
    let done: u32 = fs::read_to_string("/count").map_or(0, |text| number(text.trim()));
    if done < count {
        fs::write("/count", (done + 1).to_string()).unwrap();
        end();
    }
}

/// Writes `bytes` bytes of `0123...` lines, 64 to a line, to stdout.
fn spew(bytes: usize) {
    let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
    let mut out = io::stdout().lock();
    for _ in 0..bytes / line.len() {
        out.write_all(line).unwrap();
    }
    out.flush().unwrap();
}

/// Answers each of `lines` lines of stdin with `echo: LINE`.
fn echo(lines: usize) {
    println!("ready");
    for line in io::stdin().lock().lines().take(lines) {
        println!("echo: {}", line.unwrap());
    }
}

/// Says `ready`, then `signal N` for each of the next `count` signals.
fn signals(count: u32) {
    let mut all = SigSet::all();
    all.remove(Signal::SIGCHLD);
    all.thread_block().unwrap();
    say("ready");
    for _ in 0..count {
        let mut signal = 0;
        // SAFETY: both point to live values of the right type. (SigSet::wait knows no realtime signals.)
        unsafe { libc::sigwait(all.as_ref(), &mut signal) };
        say(&format!("signal {signal}"));
    }
}

/// Says how many of `count` sleeping children fork lets it have. They block every signal they can.
fn forks(count: u32) {
    let mut made = 0;
    for _ in 0..count {
        // SAFETY: this program has one thread.
        match unsafe { nix::unistd::fork() } {
            Ok(ForkResult::Child) => {
                SigSet::all().thread_block().unwrap();
                forever();
            }
            Ok(ForkResult::Parent { .. }) => made += 1,
            Err(_) => break,
        }
    }
    say(&format!("forked {made}"));
}

/// Leaves `count` processes without a parent, in bursts, and says so.
fn orphans(count: u32) {
    const BURST: u32 = 500;
    let mut left = 0;
    while left < count {
        let burst = BURST.min(count - left);
        let middle = fork_patiently();
        if middle == 0 {
            for _ in 0..burst {
                if fork_patiently() == 0 {
                    // SAFETY: ends the process at once; nothing of it is to be cleaned up.
                    unsafe { libc::_exit(0) };
                }
            }
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(middle), None).unwrap();
        left += burst;
    }
    say(&format!("orphans {left}"));
}

/// fork(2), again and again while there is no room for another process. 0 in the child.
fn fork_patiently() -> i32 {
    loop {
        // SAFETY: this program has one thread.
        match unsafe { libc::fork() } {
            -1 => sleep(Duration::from_millis(1)),
            pid => return pid,
        }
    }
}

/// `kill -9 -1` by a child, which it spares as it does process 1; then waits until all children are gone, and says so.
fn kill_all() {
    if fork() {
        // SAFETY: kill touches no memory.
        let killed = unsafe { libc::kill(-1, libc::SIGKILL) };
        std::process::exit(killed);
    }
    let mut reaped = 0;
    while nix::sys::wait::wait().is_ok() {
        reaped += 1;
    }
    say(&format!("reaped {reaped}"));
}

/// What a command inside does to end the container.
fn signal_init(signal: i32) {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(1, signal) };
}

/// Touches that much memory.
fn eat(bytes: usize) {
    let mut eaten = Vec::new();
    while eaten.len() < bytes >> 20 {
        eaten.push(vec![1u8; 1 << 20]);
    }
    say(&format!("ate {}", eaten.len()));
}

/// A descriptor by its number, open or not.
fn borrowed(fd: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: it is only asked about.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

/// The mode bits of a file, without its type.
fn mode(path: &Path) -> Option<u32> {
    Some(fs::symlink_metadata(path).ok()?.permissions().mode() & 0o7777)
}

/// Reads a small file whole; what cannot be read is empty.
fn text(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = fs::File::open(path) {
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
