//! What a call is, and how it is changed: the registers of x86_64.

use std::fs;

/// The registers of a process that is stopped at a call.
pub struct Registers {
    pid: i32,
    #[cfg(target_arch = "x86_64")]
    values: libc::user_regs_struct,
}

#[cfg(target_arch = "x86_64")]
impl Registers {
    pub fn of(pid: i32) -> Self {
        // SAFETY: the struct holds numbers only.
        let mut values: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one such struct, or nothing where the process is gone.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS as _, pid, 0, &raw mut values) };
        Registers { pid, values }
    }

    fn set(&self) {
        // SAFETY: the kernel reads one such struct.
        unsafe { libc::ptrace(libc::PTRACE_SETREGS as _, self.pid, 0, &raw const self.values) };
    }

    pub fn number(&self) -> i64 {
        self.values.orig_rax as i64
    }

    pub fn arguments(&self) -> [u64; 5] {
        [self.values.rdi, self.values.rsi, self.values.rdx, self.values.r10, self.values.r8]
    }

    pub fn skip(mut self) {
        self.values.orig_rax = u64::MAX;
        self.set();
    }

    pub fn answer(mut self, result: i64) {
        self.values.rax = result as u64;
        self.set();
    }

    pub fn shorten(mut self) {
        self.values.rdx = self.values.rdx.min(1);
        self.set();
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Registers {
    pub fn of(pid: i32) -> Self {
        Registers { pid }
    }
    pub fn number(&self) -> i64 {
        -1
    }
    pub fn arguments(&self) -> [u64; 5] {
        [0; 5]
    }
    pub fn skip(self) {}
    pub fn answer(self, _: i64) {}
    pub fn shorten(self) {}
}

impl Registers {
    /// The path among the arguments, or what a descriptor among them is.
    pub fn object(&self, name: &str) -> String {
        let path = match name {
            "open" | "stat" | "lstat" | "readlink" | "mkdir" | "rmdir" | "unlink" | "symlink" | "statfs" | "access"
            | "chdir" | "execve" | "umount2" | "chmod" | "pivot_root" | "inotify_add_watch" => 0,
            "openat" | "openat2" | "newfstatat" | "mkdirat" | "mknodat" | "unlinkat" | "readlinkat" | "mount"
            | "faccessat" | "faccessat2" | "fchownat" | "statx" | "execveat" | "renameat" | "linkat" => 1,
            "symlinkat" => 2,
            "read" | "write" | "pread64" | "pwrite64" | "close" | "fcntl" | "getdents64" | "ioctl" | "recvmsg"
            | "sendmsg" | "recvfrom" | "sendto" => {
                let link = fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.arguments()[0] as i32));
                return link.map_or(String::new(), |link| link.to_string_lossy().into_owned());
            }
            "prctl" => return self.arguments()[0].to_string(),
            _ => return String::new(),
        };
        let mut bytes = [0; 64];
        let read = fs::File::open(format!("/proc/{}/mem", self.pid))
            .and_then(|memory| std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, self.arguments()[path]));
        let text = bytes[..read.unwrap_or(0)].split(|byte| *byte == 0).next().unwrap_or(&[]);
        String::from_utf8_lossy(text).into_owned()
    }
}
