//! The machines whose calls a kernel takes, and what is particular about each.

use super::table::{self, Column, NO, PRIVATE};

/// One way to call a kernel.
#[derive(Debug)]
pub struct Machine {
    /// Its section in a policy.
    pub section: &'static [u8],
    /// The same, as others call it.
    pub alias: &'static [u8],
    /// Its bit in a set of machines.
    pub bit: u8,
    /// `AUDIT_ARCH_*`
    pub arch: u32,
    /// Added to each number.
    pub base: u32,
    /// Arguments are compared in both halves.
    pub wide: bool,
    /// It has socketcall(2) and ipc(2).
    pub multiplexes: bool,
    column: &'static Column,
}

/// The bit in a call's number that makes it one of x32.
pub const X32_BIT: u32 = 0x4000_0000;

/// x86_64
pub static X86_64: Machine = Machine {
    section: b"x86_64",
    alias: b"amd64",
    bit: 1,
    arch: 0xc000_003e,
    base: 0,
    wide: true,
    multiplexes: false,
    column: &table::X86_64,
};
/// i386
pub static I386: Machine = Machine {
    section: b"x86",
    alias: b"i386",
    bit: 2,
    arch: 0x4000_0003,
    base: 0,
    wide: false,
    multiplexes: true,
    column: &table::I386,
};
/// x86_64's registers with pointers of 32 bits.
pub static X32: Machine = Machine {
    section: b"x32",
    alias: b"x32",
    bit: 4,
    arch: X86_64.arch,
    base: X32_BIT,
    wide: false,
    multiplexes: false,
    column: &table::X32,
};
/// aarch64
pub static AARCH64: Machine = Machine {
    section: b"arm64",
    alias: b"aarch64",
    bit: 8,
    arch: 0xc000_00b7,
    base: 0,
    wide: true,
    multiplexes: false,
    column: &table::AARCH64,
};
/// arm
pub static ARM: Machine = Machine {
    section: b"arm",
    alias: b"armhf",
    bit: 16,
    arch: 0x4000_0028,
    base: 0,
    wide: false,
    multiplexes: false,
    column: &table::ARM,
};

/// Machines that a policy may have sections for and that we do not run on.
pub const FOREIGN: [&[u8]; 11] = [
    b"ppc64le",
    b"ppc64",
    b"ppc",
    b"mips64",
    b"mips64n32",
    b"mips",
    b"mipsel64",
    b"mipsel64n32",
    b"mipsel",
    b"s390x",
    b"s390",
];

/// What this machine's kernel may run, ours first.
pub fn own() -> &'static [&'static Machine] {
    static OWN: &[&Machine] = if cfg!(target_arch = "x86_64") {
        &[&X86_64, &I386, &X32]
    } else if cfg!(target_arch = "aarch64") {
        &[&AARCH64, &ARM]
    } else {
        // A 64-bit kernel may be below.
        &[&ARM, &AARCH64]
    };
    OWN
}

impl Machine {
    /// The call's number here, as the kernel tells it to a filter.
    pub fn number(&self, row: u16) -> Option<u32> {
        match *self.column.get(usize::from(row))? {
            NO => None,
            private @ PRIVATE.. => Some(0x0f_0000 + u32::from(private - PRIVATE)),
            number => Some(self.base + u32::from(number)),
        }
    }
}

/// socketcall(2) and ipc(2) of i386 by their numbers, each with the calls that they make in order of its first argument, which
/// is a bit mask's width beside them: ipc(2) has a version in the upper half.
pub const MULTIPLEXERS: [(u32, u32, &[u8]); 2] = [
    (
        102,
        u32::MAX,
        b" socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt \
        getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg",
    ),
    (117, 0xffff, b" semop semget semctl semtimedop       msgsnd msgrcv msgget msgctl       shmat shmdt shmget shmctl"),
];

/// How i386 may make a call otherwise: the multiplexer's number, its first argument's mask and value.
pub fn multiplexed(name: &[u8]) -> Option<(u32, u32, u32)> {
    MULTIPLEXERS.iter().find_map(|(number, mask, calls)| {
        let mut words = (0u32..).zip(calls.split(|byte| *byte == b' '));
        words.find(|(_, call)| *call == name && !name.is_empty()).map(|(index, _)| (*number, *mask, index))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_this_machine_is_the_c_librarys() {
        for (name, number) in [
            ("read", libc::SYS_read),
            ("execve", libc::SYS_execve),
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("reboot", libc::SYS_reboot),
            ("init_module", libc::SYS_init_module),
            ("kexec_load", libc::SYS_kexec_load),
            ("clock_settime", libc::SYS_clock_settime),
            ("bpf", libc::SYS_bpf),
            ("seccomp", libc::SYS_seccomp),
            ("openat2", libc::SYS_openat2),
            ("mseal", libc::SYS_mseal),
        ] {
            assert_eq!(own()[0].number(table::find(name.as_bytes()).unwrap()), Some(number as u32), "{name}");
        }
    }

    #[test]
    fn number_differs_by_machine_and_may_not_be_there() {
        let of = |name: &str| {
            let row = table::find(name.as_bytes()).unwrap();
            assert_eq!(table::name(row), name.as_bytes());
            [&X86_64, &I386, &X32, &AARCH64, &ARM].map(|machine| machine.number(row))
        };
        assert_eq!(of("execve"), [Some(59), Some(11), Some(X32_BIT + 520), Some(221), Some(11)]);
        assert_eq!(of("stime"), [None, Some(25), None, None, None]);
        assert_eq!(of("set_tls"), [None, None, None, None, Some(0x0f_0005)]);
        assert_eq!(of("clone3"), [Some(435), Some(435), Some(X32_BIT + 435), Some(435), Some(435)]);
        assert_eq!(table::find(b""), None);
        assert_eq!(table::find(b"reads"), None);
    }

    #[test]
    fn multiplexed_calls_have_their_sub_call() {
        assert_eq!(multiplexed(b"socket"), Some((102, u32::MAX, 1)));
        assert_eq!(multiplexed(b"sendmmsg"), Some((102, u32::MAX, 20)));
        assert_eq!(multiplexed(b"semtimedop"), Some((117, 0xffff, 4)));
        assert_eq!(multiplexed(b"msgsnd"), Some((117, 0xffff, 11)));
        assert_eq!(multiplexed(b"shmctl"), Some((117, 0xffff, 24)));
        assert_eq!(multiplexed(b"read"), None);
    }
}
