//! Steps that mount, and ask the kernel for what the guard hears of.

use crate::{done, errno_text, forever, fork, number, outcome, say, write};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::CString;
use std::fs;

/// The steps' names.
pub const STEPS: [&str; 19] = [
    "await",
    "beside",
    "bind",
    "clone-tree",
    "crowd",
    "fsopen",
    "jail",
    "keyctl",
    "mount",
    "mount-32",
    "namespace",
    "restart-for",
    "set-ro",
    "set-rw",
    "stranger",
    "try",
    "try-sys",
    "unmount",
    "unserved",
];

/// One step; its outcome is said.
pub fn run(verb: &str, args: &[&str]) {
    let answer = match (verb, args) {
        // mount TYPE TARGET [DATA]
        ("mount", [kind, target, data @ ..]) => made(kind, target, MsFlags::empty(), data.first().copied()),
        // bind SOURCE TARGET [FLAG...]
        ("bind", [source, target, words @ ..]) => {
            let flags = words.iter().fold(MsFlags::MS_BIND, |flags, word| flags | flag(word));
            let _ = fs::create_dir_all(target);
            done(mount(Some(*source), *target, None::<&str>, flags, None::<&str>))
        }
        // Writes what the kernel would refuse by itself, were it not read-only; `h` is harmless.
        ("try", [proc]) => tried(proc, &TRIES),
        // The same, until it is so.
        ("await", [proc]) => await_refused(proc),
        ("try-sys", [sys]) => tried(sys, &[("power/pm_freeze_timeout", "x")]),
        // As a 32-bit program calls it.
        ("mount-32", [kind, target]) => mount_32(kind, target),
        // A procfs, tried in another mount namespace that it propagates to.
        ("beside", [target]) => beside(target),
        // So many at once.
        ("crowd", [count]) => crowd(number(count)),
        // A procfs where whoever looks waits.
        ("unserved", []) => unserved(),
        // By mount_setattr(2) and a descriptor, as libmount does it.
        ("set-rw", [path]) => set_attributes(path, 0, 1),
        ("set-ro", [path]) => set_attributes(path, 1, 0),
        // By its own name for it, in a chroot and a pid namespace of its own; then in a user namespace.
        ("jail", [root]) => jail(root),
        ("stranger", [target]) => stranger(target),
        ("clone-tree", [path]) => clone_tree(path),
        ("unmount", [target]) => done(umount2(*target, MntFlags::empty())),
        // A mount namespace of its own, as Android gives to each app.
        ("namespace", []) => done(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)),
        ("fsopen", [kind]) => {
            let kind = CString::new(*kind).unwrap();
            // SAFETY: the kernel reads the C string.
            done(Errno::result(unsafe { libc::syscall(430, kind.as_ptr(), 0) }).map(drop))
        }
        // The session keyring's number.
        // SAFETY: no memory is passed.
        ("keyctl", []) => done(Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }).map(drop)),
        ("restart-for", [argument]) => restart_for(argument),
        // In a pid namespace of its own, whose end is its own.
        ("restart-for", ["nested", argument]) => nested(argument),
        _ => {
            eprintln!("init: no such step: {verb} {args:?}");
            std::process::exit(99)
        }
    };
    say(&format!("{verb} {}: {}", args.join(" "), outcome(answer)));
}

const TRIES: [(&str, &str); 4] =
    [("sysrq-trigger", "h"), ("sys/kernel/panic", "x"), ("sys/vm/swappiness", "x"), ("sys/fs/file-max", "x")];

fn await_refused(proc: &str) -> std::io::Result<String> {
    for _ in 0..2_000 {
        if tried(proc, &TRIES)? == "refused" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    tried(proc, &TRIES)
}

/// Which files are there and not read-only.
fn tried(base: &str, files: &[(&str, &str)]) -> std::io::Result<String> {
    let mut open = Vec::new();
    // Not every kernel has a trigger.
    let there = |file: &str| file != "sysrq-trigger" || fs::exists(format!("{base}/{file}")).unwrap();
    for (file, text) in files.iter().filter(|(file, _)| there(file)) {
        let errno = write(&format!("{base}/{file}"), text).err().and_then(|e| e.raw_os_error());
        if errno != Some(libc::EROFS) {
            open.push(*file);
        }
    }
    Ok(if open.is_empty() { "refused".into() } else { open.join(" ") })
}

fn made(kind: &str, target: &str, flags: MsFlags, data: Option<&str>) -> std::io::Result<String> {
    let _ = fs::create_dir_all(target);
    done(mount(Some(kind), target, Some(kind), flags, data))
}

fn flag(word: &str) -> MsFlags {
    match word {
        "rec" => MsFlags::MS_REC,
        other => panic!("no such flag: {other}"),
    }
}

fn restart_for(argument: &str) -> std::io::Result<String> {
    let argument = CString::new(argument).unwrap();
    // SAFETY: the magic numbers and the command are the kernel's, the text ends with a NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    if let Err(errno) = Errno::result(result) {
        return Ok(errno_text(&errno.into()));
    }
    // The kernel kills pid 1 on its own time.
    forever();
    Ok(String::new())
}

fn nested(argument: &str) -> std::io::Result<String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)?;
    if fork() {
        restart_for(argument)?;
    }
    let ended = nix::sys::wait::wait()?;
    Ok(format!("{}", matches!(ended, nix::sys::wait::WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGHUP, _))))
}

#[cfg(target_arch = "x86_64")]
fn mount_32(kind: &str, target: &str) -> std::io::Result<String> {
    let _ = fs::create_dir_all(target);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: an anonymous mapping of one page, below 4 GiB.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    let page = page.cast::<u8>();
    // SAFETY: both texts fit into the page, each with its NUL.
    let (kind_at, target_at) = unsafe {
        page.copy_from(kind.as_ptr(), kind.len());
        page.add(64).copy_from(target.as_ptr(), target.len());
        (page as u32, page.add(64) as u32)
    };
    let mut result = 21i32;
    // SAFETY: the kernel reads the texts; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {kind}", "int 0x80", "xchg rbx, {kind}",
            kind = inout(reg) u64::from(kind_at) => _,
            inout("eax") result,
            in("ecx") target_at,
            in("edx") kind_at,
            in("esi") 0,
            in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 { Err(std::io::Error::from_raw_os_error(-result)) } else { Ok("ok".into()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn mount_32(_: &str, _: &str) -> std::io::Result<String> {
    Err(std::io::Error::from_raw_os_error(libc::ENOSYS))
}

fn beside(target: &str) -> std::io::Result<String> {
    let (ready, ready_in) = nix::unistd::pipe()?;
    let (mounted, mounted_in) = nix::unistd::pipe()?;
    fs::create_dir_all(target)?;
    if fork() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        nix::unistd::write(&ready_in, b"r")?;
        nix::unistd::read(&mounted, &mut [0])?;
        let seen = fs::exists(format!("{target}/sys/kernel"))?;
        say(&format!("beside: {seen} {}", tried(target, &TRIES)?));
        std::process::exit(0);
    }
    nix::unistd::read(&ready, &mut [0])?;
    let made = made("proc", target, MsFlags::empty(), None);
    nix::unistd::write(&mounted_in, b"m")?;
    nix::sys::wait::wait()?;
    made
}

fn crowd(count: u32) -> std::io::Result<String> {
    for index in 0..count {
        if fork() {
            let target = format!("/tmp/{index}");
            let made = made("proc", &target, MsFlags::empty(), None).is_ok();
            std::process::exit(i32::from(!made || tried(&target, &TRIES).unwrap() != "refused"));
        }
    }
    let mut well = 0;
    while let Ok(ended) = nix::sys::wait::wait() {
        well += u32::from(matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 0)));
    }
    Ok(format!("{well}"))
}

fn clone_tree(path: &str) -> std::io::Result<String> {
    const CLONE: i32 = 1;
    use std::os::fd::AsRawFd;
    let directory = fs::File::open(path)?;
    // SAFETY: the kernel reads the C string.
    let tree = unsafe { libc::syscall(428, directory.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH | CLONE) };
    done(Errno::result(tree).map(drop))
}

/// A filesystem that nobody serves, so that whoever looks into it waits.
fn unserved() -> std::io::Result<String> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::fd::AsRawFd;
    mknod("/tmp/fuse", SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, 229))?;
    let device = fs::File::options().read(true).write(true).open("/tmp/fuse")?;
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    done(mount(Some("x"), "/mnt", Some("fuse"), MsFlags::empty(), Some(data.as_str())))?;
    say("waiting");
    done(mount(Some("proc"), "/mnt/proc", Some("proc"), MsFlags::empty(), None::<&str>))
}

/// The outcome of what a child does.
fn in_child(act: impl FnOnce() -> std::io::Result<String>) -> std::io::Result<String> {
    let (output, input) = nix::unistd::pipe()?;
    if fork() {
        nix::unistd::write(&input, outcome(act()).as_bytes())?;
        std::process::exit(0);
    }
    drop(input);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut fs::File::from(output), &mut said)?;
    nix::sys::wait::wait()?;
    Ok(said)
}

fn jail(root: &str) -> std::io::Result<String> {
    fs::create_dir_all(format!("{root}/proc"))?;
    in_child(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)?;
        in_child(|| {
            nix::unistd::chroot(root)?;
            std::env::set_current_dir("/")?;
            made("proc", "proc", MsFlags::empty(), None)?;
            Ok(fs::read_link("/proc/self")?.to_string_lossy().into_owned())
        })
    })
}

fn stranger(target: &str) -> std::io::Result<String> {
    use nix::sched::CloneFlags;
    in_child(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
        in_child(|| made("proc", target, MsFlags::empty(), None))
    })
}

fn set_attributes(path: &str, set: u64, clear: u64) -> std::io::Result<String> {
    use nix::fcntl::{OFlag, open};
    use std::os::fd::AsRawFd;
    let place = open(path, OFlag::O_PATH, nix::sys::stat::Mode::empty())?;
    let attributes = [set, clear, 0, 0];
    let empty = c"".as_ptr();
    // SAFETY: the kernel reads the C string and as many bytes as it is told.
    let result = unsafe { libc::syscall(442, place.as_raw_fd(), empty, libc::AT_EMPTY_PATH, attributes.as_ptr(), 32) };
    done(Errno::result(result).map(drop))
}
