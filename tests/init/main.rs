//! `/init` of the tests: one static program that plays every guest the tests need.
//!
//! It runs the steps of its command line in order, `/init STEP ARG... , STEP ARG...`, as pid 1 of a container whose root
//! may hold nothing but this file. What a test wants to know is written to `/results` (one line a fact) or, by `report`,
//! to `/report`; the test reads both from the host. When the steps are used up it exits with 0.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod report;

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::ptr;
use std::thread::sleep;
use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
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
        ("crash", []) => crash(),

        // reboot(2), with which a pid namespace ends by SIGHUP (restart) or SIGINT (halt, poweroff).
        ("restart" | "restart2" | "halt" | "poweroff", []) => reboot(verb),
        ("by-grandchild", [verb]) => by_grandchild(verb),
        ("restart-times", [count]) => counted(number(count), || reboot("restart")),
        ("exit-times", [count, code]) => counted(number(count), || std::process::exit(number(code))),

        // What it can see and do.
        ("report", []) => report::write("/report"),
        ("say", words) => say(&words.join(" ")),
        ("read", [path]) => {
            say(&format!("read {path}: {}", outcome(fs::read_to_string(path).map(|t| t.trim().into()))))
        }
        ("write", [path, text]) => say(&format!("write {path}: {}", outcome(write(path, text)))),
        ("remount-rw", [path]) => say(&format!("remount-rw {path}: {}", outcome(remount_rw(path)))),
        ("mknod", [path, major, minor]) => {
            say(&format!("mknod {path}: {}", outcome(mknod(path, number(major), number(minor)))))
        }
        ("sethostname", [name]) => say(&format!("sethostname: {}", outcome(sethostname(name)))),

        // The console.
        ("print", words) => println!("{}", words.join(" ")),
        ("spew", [bytes]) => spew(number(bytes)),
        ("echo", [lines]) => echo(number(lines)),
        ("print-to", [path, text]) => say(&format!("print-to {path}: {}", outcome(write(path, &format!("{text}\n"))))),

        // Signals and processes.
        ("signals", [count]) => signals(number(count)),
        ("forks", [count]) => forks(number(count)),
        ("eat", [bytes]) => eat(number(bytes)),
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

fn checked(result: libc::c_int) -> io::Result<String> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok("ok".into()) }
}

fn c(text: &str) -> std::ffi::CString {
    std::ffi::CString::new(text).unwrap()
}

fn write(path: &str, text: &str) -> io::Result<String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(!Path::new(path).exists());
    options.open(path)?.write_all(text.as_bytes())?;
    Ok("ok".into())
}

fn remount_rw(path: &str) -> io::Result<String> {
    let path = c(path);
    checked(unsafe {
        libc::mount(ptr::null(), path.as_ptr(), ptr::null(), libc::MS_REMOUNT | libc::MS_BIND, ptr::null())
    })
}

fn mknod(path: &str, major: u32, minor: u32) -> io::Result<String> {
    let path = c(path);
    checked(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(major, minor)) })
}

fn sethostname(name: &str) -> io::Result<String> {
    checked(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Waits and reaps, as an init should.
fn forever() {
    loop {
        while unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {}
        sleep(Duration::from_secs(3600));
    }
}

/// Dies by SIGSEGV. (Signals that pid 1 sends to itself with kill are ignored; a fault is not.)
fn crash() {
    unsafe { ptr::null_mut::<u8>().write_volatile(1) }
}

fn reboot(how: &str) {
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
    say(&format!("{how}: {}", outcome(checked(result))));
    // The kernel kills pid 1 on its own time.
    forever();
}

/// Calls reboot(2) from a process whose parent is gone, not from pid 1.
fn by_grandchild(how: &str) {
    if unsafe { libc::fork() } == 0 {
        if unsafe { libc::fork() } == 0 {
            reboot(how);
        }
        unsafe { libc::_exit(0) };
    }
    forever();
}

/// Ends this way as long as fewer than `count` such ends are on record in `/count`, then goes on with the next step.
fn counted(count: u32, end: impl Fn()) {
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
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigdelset(&mut all, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &all, ptr::null_mut());
        say("ready");
        for _ in 0..count {
            let mut signal = 0;
            libc::sigwait(&all, &mut signal);
            say(&format!("signal {signal}"));
        }
    }
}

/// Says how many of `count` sleeping children fork lets it have. They ignore every signal they can.
fn forks(count: u32) {
    let mut made = 0;
    for _ in 0..count {
        match unsafe { libc::fork() } {
            0 => unsafe {
                for signal in 1..32 {
                    libc::signal(signal, libc::SIG_IGN);
                }
                loop {
                    libc::pause();
                }
            },
            -1 => break,
            _ => made += 1,
        }
    }
    say(&format!("forked {made}"));
}

/// Touches that much memory.
fn eat(bytes: usize) {
    let mut eaten = Vec::new();
    while eaten.len() < bytes >> 20 {
        eaten.push(vec![1u8; 1 << 20]);
    }
    say(&format!("ate {}", eaten.len()));
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
