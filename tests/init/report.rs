//! `report`: everything a process can tell about the world it was started in, one `key: value` line a fact.

use crate::{mode, text};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Writes the report to `path`, all or nothing.
pub fn write(path: &str) {
    let mut out = String::new();
    process(&mut out);
    proc_files(&mut out);
    devices(&mut out, Path::new("/dev"), 0);
    terminal(&mut out);
    let part = format!("{path}.part");
    fs::write(&part, out).unwrap();
    fs::rename(part, path).unwrap();
}

/// What system calls say about ourselves.
fn process(out: &mut String) {
    let mut line = |key: &str, value: String| writeln!(out, "{key}: {value}").unwrap();
    line("pid", unistd::getpid().to_string());
    line("sid", unistd::getsid(None).unwrap().to_string());
    line("uid", unistd::getuid().to_string());
    line("gid", unistd::getgid().to_string());
    let groups: Vec<u32> = unistd::getgroups().unwrap().into_iter().map(unistd::Gid::as_raw).collect();
    line("groups", format!("{groups:?}"));
    line("personality", format!("{:#x}", personality()));
    line("pdeath", pdeath().to_string());
    line("session keyring", session_keyring().to_string());
    let mask = umask(Mode::empty());
    umask(mask);
    line("umask", format!("{:03o}", mask.bits()));
    let uts = nix::sys::utsname::uname().unwrap();
    line("hostname", uts.nodename().to_string_lossy().into_owned());
    line("machine", uts.machine().to_string_lossy().into_owned());
    line("cwd", std::env::current_dir().map_or_else(|e| e.to_string(), |dir| dir.display().to_string()));
    for arg in std::env::args() {
        line("arg", arg);
    }
    for (name, value) in std::env::vars() {
        line("env", format!("{name}={value}"));
    }
}

/// The whole of it; nix knows the flags only.
fn personality() -> i32 {
    // SAFETY: this value asks and changes nothing.
    unsafe { libc::personality(0xffff_ffff) }
}

/// The number of the session's keyring, or of the user's where the session has none; negative: an errno.
fn session_keyring() -> i64 {
    const GET_ID: libc::c_long = 0;
    const SESSION: libc::c_long = -3;
    // SAFETY: the call takes and gives numbers only.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_ID, SESSION, 0) };
    if id < 0 { -i64::from(nix::errno::Errno::last_raw()) } else { i64::from(id as i32) }
}

/// PR_GET_PDEATHSIG.
fn pdeath() -> i32 {
    let mut signal = 0;
    // SAFETY: the kernel writes one int, where there is one.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal) };
    signal
}

/// What only /proc knows. Where the container has none, one is mounted for the time of the reading, after nothing else.
fn proc_files(out: &mut String) {
    let own = !Path::new("/proc/self/status").exists();
    let proc = if own { "/.proc" } else { "/proc" };
    if own {
        let _ = fs::create_dir(proc);
        let _ = mount(Some("proc"), proc, Some("proc"), MsFlags::empty(), None::<&str>);
    }
    let mut lines = |key: &str, text: String| {
        for line in text.lines() {
            writeln!(out, "{key}: {line}").unwrap();
        }
    };
    lines(
        "mount",
        text(format!("{proc}/self/mountinfo"))
            .lines()
            .filter(|l| !l.contains(" /.proc "))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    lines("status", text(format!("{proc}/self/status")).replace('\t', " "));
    lines("limit", text(format!("{proc}/self/limits")));
    lines("cgroup", text(format!("{proc}/self/cgroup")));
    lines("iface", text(format!("{proc}/self/net/dev")).lines().skip(2).map(iface).collect::<Vec<_>>().join("\n"));
    lines("address", addresses(&text(format!("{proc}/self/net/fib_trie"))));
    lines("route", text(format!("{proc}/self/net/route")).lines().skip(1).collect::<Vec<_>>().join("\n"));
    lines("sysctl", format!("net.ipv4.ip_forward={}", text(format!("{proc}/sys/net/ipv4/ip_forward"))));
    lines("sysctl", format!("kernel.domainname={}", text(format!("{proc}/sys/kernel/domainname"))));
    lines("oom_score_adj", text(format!("{proc}/self/oom_score_adj")));
    for (key, dir) in [("ns", "ns"), ("fd", "fd")] {
        // Names, not entries: those would keep the directory's own descriptor open.
        let list = fs::read_dir(format!("{proc}/self/{dir}")).unwrap();
        let mut names: Vec<_> = list.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        for name in names {
            if let Ok(target) = fs::read_link(format!("{proc}/self/{dir}/{name}")) {
                lines(key, format!("{name} {}", target.display()));
            }
        }
    }
    if own {
        let _ = umount2(proc, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(proc);
    }
}

/// The local addresses of /proc/net/fib_trie, each once: `|-- ADDRESS`, and what it is in the next line.
fn addresses(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let local = lines.windows(2).filter(|pair| pair[1].starts_with("/32 host LOCAL"));
    let mut found: Vec<_> = local.filter_map(|pair| pair[0].strip_prefix("|-- ")).collect();
    found.sort();
    found.dedup();
    found.join("\n")
}

/// `NAME up` or `NAME down` of a line of /proc/net/dev.
fn iface(line: &str) -> String {
    let name = line.split(':').next().unwrap_or("").trim();
    // SAFETY: the request is a whole `ifreq`, zeroed, its name shorter than the field and so ended by a NUL.
    let up = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from as libc::c_char;
        }
        libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &mut request);
        libc::close(socket);
        request.ifr_ifru.ifru_flags & libc::IFF_UP as i16 != 0
    };
    format!("{name} {}", if up { "up" } else { "down" })
}

/// /dev two levels deep: `PATH c MAJOR:MINOR MODE UID:GID`, `PATH l TARGET`, `PATH d MODE`, `PATH f MODE`.
fn devices(out: &mut String, dir: &Path, depth: u32) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        let mode = mode(&path).unwrap_or(0);
        let what = if kind.is_symlink() {
            format!("l {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_char_device() || kind.is_block_device() {
            let letter = if kind.is_char_device() { 'c' } else { 'b' };
            let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
            format!("{letter} {major}:{minor} {mode:o} {}:{}", meta.uid(), meta.gid())
        } else {
            format!("{} {mode:o}", if kind.is_dir() { 'd' } else { 'f' })
        };
        writeln!(out, "dev: {} {what}", path.display()).unwrap();
        if kind.is_dir() && depth < 2 {
            devices(out, &path, depth + 1);
        }
    }
}

/// Which of 0, 1, 2 are terminals, the size of the first, and whether it is our controlling one.
fn terminal(out: &mut String) {
    for fd in 0..3 {
        // SAFETY: isatty only looks.
        let tty = unsafe { libc::isatty(fd) };
        writeln!(out, "isatty: {fd} {tty}").unwrap();
    }
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize`, where there is one; tcgetsid only looks.
    let session = unsafe {
        libc::ioctl(0, libc::TIOCGWINSZ, &mut size);
        libc::tcgetsid(0)
    };
    writeln!(out, "winsize: {}x{}", size.ws_col, size.ws_row).unwrap();
    writeln!(out, "controlling: {}", session == unistd::getsid(None).unwrap().as_raw()).unwrap();
}
