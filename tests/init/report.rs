//! `report`: everything a process can tell about the world it was started in, one `key: value` line a fact.

use crate::{c, mode, text};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::ptr;

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
    unsafe {
        line("pid", libc::getpid().to_string());
        line("sid", libc::getsid(0).to_string());
        line("uid", libc::getuid().to_string());
        line("gid", libc::getgid().to_string());
        let mut groups = [0; 64];
        let count = libc::getgroups(64, groups.as_mut_ptr());
        line("groups", format!("{:?}", &groups[..count as usize]));
        line("personality", format!("{:#x}", libc::personality(0xffff_ffff)));
        line("pdeath", pdeath().to_string());
        line("dumpable", libc::prctl(libc::PR_GET_DUMPABLE).to_string());
        let mask = libc::umask(0);
        libc::umask(mask);
        line("umask", format!("{mask:03o}"));
        let mut uts: libc::utsname = std::mem::zeroed();
        libc::uname(&mut uts);
        line("hostname", std::ffi::CStr::from_ptr(uts.nodename.as_ptr()).to_string_lossy().into_owned());
        line("machine", std::ffi::CStr::from_ptr(uts.machine.as_ptr()).to_string_lossy().into_owned());
    }
    line("cwd", std::env::current_dir().map_or_else(|e| e.to_string(), |dir| dir.display().to_string()));
    for arg in std::env::args() {
        line("arg", arg);
    }
    for (name, value) in std::env::vars() {
        line("env", format!("{name}={value}"));
    }
}

unsafe fn pdeath() -> i32 {
    let mut signal = 0;
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal) };
    signal
}

/// What only /proc knows. Where the container has none, one is mounted for the time of the reading, after nothing else.
fn proc_files(out: &mut String) {
    let own = !Path::new("/proc/self/status").exists();
    let proc = if own { "/.proc" } else { "/proc" };
    if own {
        let _ = fs::create_dir(proc);
        let dir = c(proc);
        unsafe { libc::mount(c"proc".as_ptr(), dir.as_ptr(), c"proc".as_ptr(), 0, ptr::null()) };
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
    lines("sysctl", format!("net.ipv4.ip_forward={}", text(format!("{proc}/sys/net/ipv4/ip_forward"))));
    lines("sysctl", format!("kernel.domainname={}", text(format!("{proc}/sys/kernel/domainname"))));
    lines("oom_score_adj", text(format!("{proc}/self/oom_score_adj")));
    for (key, dir) in [("ns", "ns"), ("fd", "fd")] {
        let mut links: Vec<_> = fs::read_dir(format!("{proc}/self/{dir}")).unwrap().flatten().collect();
        links.sort_by_key(|entry| entry.file_name());
        for entry in links {
            // The directory's own fd is gone by the time its link is read.
            if let Ok(target) = fs::read_link(entry.path()) {
                lines(key, format!("{} {}", entry.file_name().to_string_lossy(), target.display()));
            }
        }
    }
    if own {
        let dir = c(proc);
        unsafe { libc::umount2(dir.as_ptr(), libc::MNT_DETACH) };
        let _ = fs::remove_dir(proc);
    }
}

/// `NAME up` or `NAME down` of a line of /proc/net/dev.
fn iface(line: &str) -> String {
    let name = line.split(':').next().unwrap_or("").trim();
    let up = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
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
    unsafe {
        for fd in 0..3 {
            writeln!(out, "isatty: {fd} {}", libc::isatty(fd)).unwrap();
        }
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(0, libc::TIOCGWINSZ, &mut size);
        writeln!(out, "winsize: {}x{}", size.ws_col, size.ws_row).unwrap();
        writeln!(out, "controlling: {}", libc::tcgetsid(0) == libc::getsid(0)).unwrap();
    }
}
