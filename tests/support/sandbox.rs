//! A mount namespace of a test's own: private, with an empty /run and a devpts of its own, in which the supervisor under
//! test, its clients and its hooks run; where a test asks for it, a network namespace as well. All of the harness' unsafe
//! code is here.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The namespace lives as long as this handle.
pub struct Sandbox {
    namespace: File,
    network: Option<File>,
}

impl Sandbox {
    /// A new namespace. Only children and threads of the test process enter it, never all of it.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests start containers: run them as root");
        let sandbox = Sandbox { namespace: made("mnt", libc::CLONE_NEWNS), network: None };
        sandbox.sh("
            mount --make-rprivate /
            mount -t tmpfs -o mode=755 run /run
            mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
        ");
        sandbox
    }

    /// A network namespace for all that runs inside from now on, with a /sys that shows it.
    pub fn isolate_network(&mut self) {
        self.network = Some(made("net", libc::CLONE_NEWNET));
        self.sh("
            mkdir /run/cgroup
            mount --rbind /sys/fs/cgroup /run/cgroup
            mount -t sysfs sysfs /sys
            mount --rbind /run/cgroup /sys/fs/cgroup
            umount -l /run/cgroup
            rmdir /run/cgroup
            ip link set lo up
        ");
    }

    /// Whether there is a network namespace of its own.
    pub fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// The network namespace, where there is one of its own.
    pub fn network(&self) -> File {
        self.network.as_ref().unwrap().try_clone().unwrap()
    }

    /// Lets `command` run inside, in a session of its own, and die with the test.
    pub fn enter(&self, command: &mut Command) {
        let namespace = self.namespace.as_raw_fd();
        let network = self.network.as_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: between fork and exec there are only system calls, on a descriptor that outlives the command's start.
        unsafe {
            command.pre_exec(move || {
                check(libc::setns(namespace, libc::CLONE_NEWNS))?;
                if let Some(network) = network {
                    check(libc::setns(network, libc::CLONE_NEWNET))?;
                }
                check(libc::setsid())?;
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))
            })
        };
    }

    /// Runs a shell script inside and returns its output. A failing command fails the test.
    pub fn sh(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).stdin(Stdio::null());
        self.enter(&mut command);
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "script failed:\n{script}\n{text}");
        text
    }

    /// Looks at something inside, on a thread of its own, which is the only one that enters.
    pub fn look<T: Send>(&self, look: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace.as_raw_fd();
        let look = move || {
            // SAFETY: the calls take numbers and a descriptor that outlives them.
            check(unsafe { libc::unshare(libc::CLONE_FS) }).unwrap();
            // SAFETY: as above.
            check(unsafe { libc::setns(namespace, libc::CLONE_NEWNS) }).unwrap();
            look()
        };
        std::thread::scope(|scope| scope.spawn(look).join().unwrap())
    }

    /// Pids of the processes inside: supervisor, hooks, what hooks left. (A container has a namespace of its own.)
    pub fn processes(&self) -> Vec<i32> {
        let inode = self.namespace.metadata().unwrap().ino();
        super::leaks::all_pids()
            .into_iter()
            .filter(|pid| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok_and(|link| link.ino() == inode))
            .collect()
    }
}

/// Does something in a network namespace, on a thread of its own, which is the only one that enters it.
pub fn in_network<T: Send + 'static>(namespace: File, act: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        // SAFETY: the call takes a descriptor that lives until it returns.
        check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).unwrap();
        act()
    });
    thread.join().unwrap()
}

/// A new namespace of the kind that /proc/PID/ns calls `name`.
fn made(name: &str, flag: libc::c_int) -> File {
    let mut holder = Command::new("sleep");
    holder.arg("60").stdin(Stdio::null());
    // SAFETY: one system call between fork and exec.
    unsafe { holder.pre_exec(move || check(libc::unshare(flag))) };
    let mut holder = holder.spawn().unwrap();
    let namespace = File::open(format!("/proc/{}/ns/{name}", holder.id())).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    namespace
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal; a process that is gone already is no error.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: kill touches no memory. (nix has no realtime signals.)
    unsafe { libc::kill(pid, signal) };
}

/// A pty pair: (ours, the side to hand to a command).
pub fn pty(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(&size, None).unwrap();
    for fd in [&pair.master, &pair.slave] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
    }
    (pair.master, pair.slave)
}

/// Makes stdin the controlling terminal of the session that [`Sandbox::enter`] opened. Call it after `enter`.
pub fn control_terminal(command: &mut Command) {
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| check(libc::ioctl(0, libc::TIOCSCTTY, 0))) };
}

/// Lets `command` inherit `fd` as descriptor `number`.
pub fn inherit(command: &mut Command, fd: &impl AsRawFd, number: i32) {
    let fd = fd.as_raw_fd();
    // dup2 onto itself would leave the descriptor to be closed by the exec.
    // SAFETY: one system call between fork and exec, on a descriptor that the caller keeps until then.
    unsafe {
        command.pre_exec(move || {
            if fd == number { check(libc::fcntl(fd, libc::F_SETFD, 0)) } else { check(libc::dup2(fd, number)) }
        })
    };
}

/// Starts the command with `signals` ignored, as nohup and some shells do.
pub fn ignore(command: &mut Command, signals: &'static [i32]) {
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for signal in signals {
                libc::signal(*signal, libc::SIG_IGN);
            }
            Ok(())
        })
    };
}

/// Closes descriptors 0, 1 and 2 in the command, as some boot scripts do.
pub fn close_stdio(command: &mut Command) {
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            for fd in 0..3 {
                libc::close(fd);
            }
            Ok(())
        })
    };
}

/// Gives a terminal another size.
pub fn resize(terminal: &impl AsRawFd, columns: u16, rows: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one `winsize`.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) }).unwrap();
}

/// Receives an answer of the command socket and the descriptor beside it; None: it came without, or not at all.
pub fn receive_fd(stream: &impl AsRawFd) -> Option<OwnedFd> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut answer = [0; 16];
    let mut parts = [io::IoSliceMut::new(&mut answer)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).ok()?;
    let fds = message.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for us.
    fds.map(|fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Makes `directory` the command's root. Call it after `enter`.
pub fn chroot(command: &mut Command, directory: &Path) {
    let directory = CString::new(directory.as_os_str().as_bytes()).unwrap();
    // SAFETY: two system calls between fork and exec, on texts made before.
    unsafe {
        command.pre_exec(move || {
            check(libc::chroot(directory.as_ptr()))?;
            check(libc::chdir(c"/".as_ptr()))
        })
    };
}

/// Does something as another user, on a thread of its own, which is the only one that becomes it.
pub fn as_user<T: Send + 'static>(uid: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        // SAFETY: the call takes numbers only; made directly, it is about this thread alone.
        check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } as libc::c_int).unwrap();
        act()
    });
    thread.join().unwrap()
}

/// How many bytes wait to be read at a terminal.
pub fn waiting(terminal: &impl AsRawFd) -> i32 {
    let mut count = 0;
    // SAFETY: the kernel writes one int.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::FIONREAD, &mut count) }).unwrap();
    count
}

/// Exchanges two paths in one step.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
    let here = libc::AT_FDCWD;
    // SAFETY: the kernel reads two C strings, which live until it returns. (nix and musl lack the call.)
    let result =
        unsafe { libc::syscall(libc::SYS_renameat2, here, one.as_ptr(), here, other.as_ptr(), libc::RENAME_EXCHANGE) };
    check(result as libc::c_int)
}

/// Puts the command, and all it starts, under a seccomp filter. Call it last: what is set up after it is filtered as well.
pub fn filter(command: &mut Command, mut program: Vec<libc::sock_filter>) {
    // SAFETY: one system call between fork and exec; the kernel copies the program, which the closure owns.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
            check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter))
        })
    };
}

/// Whether the kernel has seccomp filters: it looks for the program then, which is not there.
pub fn has_filters() -> bool {
    // SAFETY: without a program nothing changes.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::null::<u8>()) };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
