//! The filter on the guest's system calls, as classic BPF, and what the calls are that it hands over. Pure.
//!
//! Everything is allowed but: reboot(2) with an argument and calls that make or uncover a mount are handed over; the kernel's
//! keyrings, if the config says so, are not there. A 64-bit kernel runs 32-bit guests too, so both are looked at. x32 has the
//! numbers of x86_64 with one bit more.

use super::masks;
use crate::config::own::Own;
use crate::sys::seccomp::Instruction;
use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use nix::errno::Errno;
use nix::mount::MsFlags;

/// What the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// reboot(2) with an argument is heard.
    pub reboots: bool,
    /// What makes or uncovers a mount is heard.
    pub mounts: bool,
    /// keyctl(2) and its kin are answered ENOSYS.
    pub no_keyctl: bool,
}

impl Wanted {
    /// What the config asks for.
    pub fn of(own: &Own<'_>) -> Wanted {
        Wanted { reboots: own.hears_reboots(), mounts: masks::wanted(own), no_keyctl: own.hides_keyrings() }
    }

    /// There is something to be heard.
    pub fn listens(self) -> bool {
        self.reboots || self.mounts
    }
}

/// A call that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// reboot(2), `LINUX_REBOOT_CMD_RESTART2`
    Reboot,
    /// mount(2), where it makes a filesystem, binds without what is mounted below, makes writable or moves.
    Mount,
    /// umount2(2)
    Unmount,
    /// fsopen(2)
    Fsopen,
    /// open_tree(2), where it copies without what is mounted below.
    OpenTree,
    /// mount_setattr(2)
    SetAttributes,
}

/// `LINUX_REBOOT_CMD_RESTART2`
pub const RESTART2: u32 = 0xa1b2_c3d4;
/// What mount(2) may have in its flags' upper half, and means nothing.
pub const MAGIC: u32 = 0xc0ed_0000;
/// The flags that only change propagation.
pub const PROPAGATION: u32 = (libc::MS_UNBINDABLE | libc::MS_PRIVATE | libc::MS_SLAVE | libc::MS_SHARED) as u32;

// Calls of Linux 5.2 and later have one number everywhere.
const OPEN_TREE: u32 = 428;
const FSOPEN: u32 = 430;
const MOUNT_SETATTR: u32 = 442;
const OPEN_TREE_CLONE: u32 = 1;
const AT_RECURSIVE: u32 = 0x8000;

/// The older numbers of one architecture.
struct Machine {
    arch: u32,
    mount: u32,
    umount2: u32,
    reboot: u32,
    keyrings: [u32; 3],
}

const X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;

/// x86_64, i386, aarch64, arm: the machines of one kernel stand together.
const MACHINES: [Machine; 4] = [
    Machine { arch: X86_64, mount: 165, umount2: 166, reboot: 169, keyrings: [248, 249, 250] },
    Machine { arch: 0x4000_0003, mount: 21, umount2: 52, reboot: 88, keyrings: [286, 287, 288] },
    Machine { arch: 0xc000_00b7, mount: 40, umount2: 39, reboot: 142, keyrings: [217, 218, 219] },
    Machine { arch: 0x4000_0028, mount: 21, umount2: 52, reboot: 88, keyrings: [309, 310, 311] },
];

/// Those that this machine's kernel may run.
fn own_machines() -> &'static [Machine] {
    let (x86, arms) = MACHINES.split_at(2);
    if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { x86 } else { arms }
}

/// Which call that is.
pub fn call_of(arch: u32, number: u32) -> Option<Call> {
    let machine = MACHINES.iter().find(|machine| machine.arch == arch)?;
    let number = if arch == X86_64 { number & !X32_BIT } else { number };
    Some(match number {
        OPEN_TREE => Call::OpenTree,
        FSOPEN => Call::Fsopen,
        MOUNT_SETATTR => Call::SetAttributes,
        _ if number == machine.mount => Call::Mount,
        _ if number == machine.umount2 => Call::Unmount,
        _ if number == machine.reboot => Call::Reboot,
        _ => return None,
    })
}

/// A whole filter: two architectures need 76 instructions.
pub type Program = heapless::Vec<Instruction, 96>;

/// The filter for this machine.
pub fn program(wanted: Wanted) -> Program {
    program_for(wanted, own_machines())
}

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Where the low half of an argument lies; all our machines have it first.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const AND: u32 = BPF_ALU | BPF_AND | BPF_K;
const IF_IS: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const IF_HAS: u32 = BPF_JMP | BPF_JSET | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;
const ALLOW: (u32, u8, u8, u32) = (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
const HAND_OVER: (u32, u8, u8, u32) = (RETURN, 0, 0, 0x7fc0_0000);
const NOT_THERE: (u32, u8, u8, u32) = (RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32);

fn program_for(wanted: Wanted, machines: &[Machine]) -> Program {
    let mut program = Program::new();
    put(&mut program, &[(LOAD, 0, 0, ARCH)]);
    for machine in machines {
        let start = program.len();
        // Jumps over this machine's part; how far is known at its end.
        put(&mut program, &[(IF_IS, 0, 0, machine.arch), (LOAD, 0, 0, NUMBER)]);
        if machine.arch == X86_64 {
            put(&mut program, &[(AND, 0, 0, !X32_BIT)]);
        }
        if wanted.reboots {
            put(
                &mut program,
                &[(IF_IS, 0, 4, machine.reboot), (LOAD, 0, 0, argument(2)), (IF_IS, 0, 1, RESTART2), HAND_OVER, ALLOW],
            );
        }
        if wanted.mounts {
            mounts(&mut program, machine);
        }
        if wanted.no_keyctl {
            let [add, request, control] = machine.keyrings;
            put(&mut program, &[(IF_IS, 2, 0, add), (IF_IS, 1, 0, request), (IF_IS, 0, 1, control), NOT_THERE]);
        }
        put(&mut program, &[ALLOW]);
        let beyond = (program.len() - start - 1) as u8;
        if let Some(first) = program.get_mut(start) {
            first.jf = beyond;
        }
    }
    put(&mut program, &[ALLOW]);
    program
}

fn mounts(program: &mut Program, machine: &Machine) {
    let has = |flags: MsFlags| flags.bits() as u32;
    put(
        program,
        &[
            (IF_IS, 0, 10, machine.mount),
            (LOAD, 0, 0, argument(3)),
            // A remount matters if it makes writable, a bind if it leaves behind what is mounted below.
            (IF_HAS, 0, 1, has(MsFlags::MS_REMOUNT)),
            (IF_HAS, 6, 5, has(MsFlags::MS_RDONLY)),
            (IF_HAS, 0, 1, has(MsFlags::MS_BIND)),
            (IF_HAS, 4, 3, has(MsFlags::MS_REC)),
            (AND, 0, 0, 0xffff_0000),
            (IF_IS, 1, 0, MAGIC),
            (IF_HAS, 1, 0, PROPAGATION),
            HAND_OVER,
            ALLOW,
            (IF_IS, 2, 0, machine.umount2),
            (IF_IS, 1, 0, FSOPEN),
            (IF_IS, 0, 1, MOUNT_SETATTR),
            HAND_OVER,
            (IF_IS, 0, 5, OPEN_TREE),
            (LOAD, 0, 0, argument(2)),
            (IF_HAS, 0, 2, OPEN_TREE_CLONE),
            (IF_HAS, 1, 0, AT_RECURSIVE),
            HAND_OVER,
            ALLOW,
        ],
    );
}

fn put(program: &mut Program, instructions: &[(u32, u8, u8, u32)]) {
    for (code, jt, jf, k) in instructions {
        let _ = program.push(Instruction { code: *code as u16, jt: *jt, jf: *jf, k: *k });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted { reboots: true, mounts: true, no_keyctl: true };

    #[derive(Debug, PartialEq)]
    enum Verdict {
        Allow,
        HandOver,
        Enosys,
    }
    use Verdict::*;

    /// A small interpreter of what the programs are made of.
    fn judge(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> Verdict {
        let mut data = [0u32; 16];
        (data[0], data[1]) = (number, arch);
        for (index, argument) in args.into_iter().enumerate() {
            (data[4 + 2 * index], data[5 + 2 * index]) = (argument as u32, (argument >> 32) as u32);
        }
        let (mut at, mut a) = (0, 0u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |holds: bool| at + usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                LOAD => a = data[k as usize / 4],
                AND => a &= k,
                IF_IS => at = jump(a == k),
                IF_HAS => at = jump(a & k != 0),
                RETURN if k == libc::SECCOMP_RET_ALLOW => return Allow,
                RETURN if k == 0x7fc0_0000 => return HandOver,
                RETURN if k == libc::SECCOMP_RET_ERRNO | 38 => return Enosys,
                other => panic!("{other:#x} {k:#x}"),
            }
        }
    }

    #[test]
    fn program_every_call_of_every_machine_gets_its_verdict() {
        for machines in [&MACHINES[..2], &MACHINES[2..]] {
            let program = program_for(ALL, machines);
            for machine in machines {
                let is = |number: u32, args: [u64; 6]| judge(&program, machine.arch, number, args);
                for number in (0..600).step_by(if cfg!(miri) { 7 } else { 1 }) {
                    let expected = match number {
                        _ if machine.keyrings.contains(&number) => Enosys,
                        _ if number == machine.umount2 || number == machine.mount => HandOver,
                        FSOPEN | MOUNT_SETATTR => HandOver,
                        _ => Allow,
                    };
                    assert_eq!(is(number, [0; 6]), expected, "{:#x} {number}", machine.arch);
                    assert_eq!(
                        is(number, [0; 6]) == HandOver,
                        call_of(machine.arch, number)
                            .is_some_and(|call| call != Call::Reboot && call != Call::OpenTree)
                    );
                }
                assert_eq!(is(machine.reboot, [0xfee1_dead, 672274793, RESTART2.into(), 8, 0, 0]), HandOver);
                assert_eq!(is(machine.reboot, [0, 0, u64::from(RESTART2) | 5 << 32, 8, 0, 0]), HandOver);
                assert_eq!(is(machine.reboot, [0xfee1_dead, 672274793, 0x0123_4567, 0, 0, 0]), Allow);
                let mount = |flags: u64| is(machine.mount, [0, 0, 0, flags, 0, 0]);
                for (flags, expected) in [
                    (0, HandOver),
                    (0xc0ed_0000, HandOver),
                    (0xc0ed_0000 | 4096 | 16384, Allow),
                    (libc::MS_NOSUID, HandOver),
                    (libc::MS_BIND, HandOver),
                    (libc::MS_BIND | libc::MS_REC, Allow),
                    (libc::MS_REMOUNT, HandOver),
                    (libc::MS_REMOUNT | libc::MS_BIND, HandOver),
                    (libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, Allow),
                    (libc::MS_MOVE, HandOver),
                    (libc::MS_SLAVE | libc::MS_REC, Allow),
                    (libc::MS_PRIVATE, Allow),
                ] {
                    assert_eq!(mount(flags), expected, "{flags:#x}");
                }
                assert_eq!(is(OPEN_TREE, [0, 0, 1, 0, 0, 0]), HandOver);
                assert_eq!(is(OPEN_TREE, [0, 0, 0x8001, 0, 0, 0]), Allow);
            }
        }
    }

    #[test]
    fn program_x32_is_as_x86_64_and_an_unknown_machine_is_let_through() {
        let program = program_for(ALL, &MACHINES[..2]);
        assert_eq!(judge(&program, X86_64, 165 | X32_BIT, [0; 6]), HandOver);
        assert_eq!(call_of(X86_64, 165 | X32_BIT), Some(Call::Mount));
        assert_eq!(judge(&program, 0xc000_00b7, 40, [0; 6]), Allow);
    }

    #[test]
    fn program_has_nothing_that_was_not_asked_for_and_is_whole() {
        let none = Wanted { reboots: false, mounts: false, no_keyctl: false };
        for wanted in [Wanted { reboots: true, ..none }, Wanted { no_keyctl: true, ..none }, ALL] {
            for machines in [&MACHINES[..2], &MACHINES[2..]] {
                let program = program_for(wanted, machines);
                assert!(program.len() < program.capacity());
                for machine in machines {
                    let is = |number: u32| judge(&program, machine.arch, number, [0; 6]);
                    assert_eq!(is(machine.mount) == HandOver, wanted.mounts);
                    assert_eq!(is(machine.keyrings[2]) == Enosys, wanted.no_keyctl);
                    assert_eq!(is(0), Allow);
                }
            }
        }
    }
}
