//! Our compiler against libseccomp's: both programs give every call the same answer.

use super::interpreter::run;
use crate::support::skip;
use libc::sock_filter;
use monopod::seccomp::compile::compile;
use monopod::seccomp::machine::{AARCH64, ARM, I386, Machine, X32, X86_64, multiplexed};
use monopod::seccomp::policy::{Call, Condition, Op, Policy};
use monopod::seccomp::table;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const MACHINES: [&Machine; 5] = [&X86_64, &I386, &X32, &AARCH64, &ARM];

/// The oracle's binary; None, with the skip said, where it cannot be built.
fn oracle(test: &str) -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("monopod-oracle-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (source, binary) = (directory.join("oracle.c"), directory.join("oracle"));
        fs::write(&source, include_str!("oracle.c")).unwrap();
        let made =
            Command::new("cc").arg(&source).arg("-o").arg(&binary).arg("-lseccomp").stderr(Stdio::null()).status();
        made.is_ok_and(|status| status.success()).then_some(binary)
    });
    if built.is_none() {
        skip(test, "no C compiler or no libseccomp (package libseccomp-dev)", true);
    }
    built.as_ref()
}

fn ask(oracle: &PathBuf, argument: Option<&str>, input: &str) -> Vec<u8> {
    let mut child = Command::new(oracle);
    let mut child = child.args(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

/// libseccomp's program for a policy.
fn theirs(oracle: &PathBuf, policy: &Policy, machines: &[&Machine]) -> Vec<sock_filter> {
    let mut text = format!("{:x}\n", policy.default);
    let number = |machine: &Machine| MACHINES.iter().position(|one| one.bit == machine.bit).unwrap();
    let machines = if policy.native_only { &machines[..1] } else { machines };
    for machine in machines {
        writeln!(text, "m {}", number(machine)).unwrap();
    }
    for rule in &policy.rules {
        for machine in machines.iter().filter(|machine| rule.machines & machine.bit != 0) {
            let conditions = policy.conditions_of(rule);
            let name = match rule.call {
                Call::Row(row) => String::from_utf8(table::name(row).to_vec()).unwrap(),
                Call::Number(number) => number.to_string(),
            };
            // It refuses those, because their arguments are in memory.
            if machine.multiplexes && !conditions.is_empty() && multiplexed(name.as_bytes()).is_some() {
                continue;
            }
            write!(text, "r {} {name} {:x} {}", number(machine), rule.action, conditions.len()).unwrap();
            for Condition { index, op, value, mask } in conditions {
                let (op, a, b) = match op {
                    Op::Ne => (1, value, &0),
                    Op::Lt => (2, value, &0),
                    Op::Le => (3, value, &0),
                    Op::Eq => (4, value, &0),
                    Op::Ge => (5, value, &0),
                    Op::Gt => (6, value, &0),
                    Op::Masked => (7, mask, value),
                };
                write!(text, " {index} {op} {a} {b}").unwrap();
            }
            text.push('\n');
        }
    }
    let bytes = ask(oracle, None, &text);
    let instruction = |bytes: &[u8]| sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    bytes.chunks(8).map(instruction).collect()
}

/// Numbers that mean something and some that do not.
fn numbers() -> impl Iterator<Item = u32> {
    let plain = (0..600).chain(0x0f_0000..0x0f_0008);
    let x32 = (0..600).map(|number| number | 0x4000_0000);
    plain.chain(x32).chain([1024, 0xffff, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff])
}

/// Values around those that the conditions know, and what differs from them in the upper half only.
fn values(policy: &Policy) -> Vec<u64> {
    let known = policy.rules.iter().flat_map(|rule| policy.conditions_of(rule)).flat_map(|one| [one.value, one.mask]);
    let mut values: Vec<u64> = known
        .chain([0, 1, 0xffff_ffff, u64::MAX])
        .flat_map(|value| {
            [value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 32, value ^ 1 << 63, !value]
        })
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn same(oracle: &PathBuf, name: &str, text: &[u8], machines: &[&Machine]) {
    let policy = Policy::parse(text, &mut |_, _| {}).unwrap_or_else(|fault| panic!("{name}:{}: {fault}", fault.line));
    let ours = compile(&policy, machines).unwrap();
    let theirs = theirs(oracle, &policy, machines);
    let (ours_long, theirs_long) = (ours.len(), theirs.len());
    assert!(ours_long <= 2 * theirs_long, "{name}: {ours_long} instructions, libseccomp has {theirs_long}");
    let values = values(&policy);
    let mut seed = 1u64;
    let mut any = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        values[(seed >> 33) as usize % values.len()]
    };
    // Only these answers depend on arguments.
    let mut depend = HashSet::from([(I386.arch, 102), (I386.arch, 117)]);
    for rule in policy.rules.iter().filter(|rule| !policy.conditions_of(rule).is_empty()) {
        let Call::Row(row) = rule.call else { continue };
        depend.extend(MACHINES.iter().filter_map(|machine| Some((machine.arch, machine.number(row)?))));
    }
    let arches = MACHINES.map(|machine| machine.arch).into_iter().chain([0, 0xc000_0015]);
    for arch in arches {
        for number in numbers() {
            for round in 0..if depend.contains(&(arch, number)) { 200 } else { 2 } {
                let mut args = [0; 6];
                if round > 0 {
                    args = args.map(|_: u64| any());
                }
                // ipc(2) has a version in the upper half, past which libseccomp does not look.
                if arch == I386.arch && number == 117 {
                    args[0] &= 0xffff;
                }
                let (mine, its) = (run(&ours, arch, number, args), run(&theirs, arch, number, args));
                assert_eq!(mine, its, "{name}: {arch:#x} {number} {args:x?}: {mine:#x}, libseccomp {its:#x}");
            }
        }
    }
}

const X86: &[&Machine] = &[&X86_64, &I386, &X32];
const ARMS: &[&Machine] = &[&AARCH64, &ARM];

#[test]
fn compile_answers_as_libseccomp_does() {
    let Some(oracle) = oracle("compile_answers_as_libseccomp_does") else { return };
    let every = include_bytes!("every_condition.policy");
    let mut nearly_all = b"2\nallowlist\n".to_vec();
    // What is newer than libseccomp 2.5 it does not know.
    let known = |row: &u16| X86_64.number(*row).is_none_or(|number| number < 450) && table::name(*row) != b"uretprobe";
    for row in (0..table::COUNT as u16).filter(|row| row % 7 != 3).filter(known) {
        nearly_all.extend([table::name(row), b"\n"].concat());
    }
    // Not with an inequality and an equation in each: libseccomp 2.5.4 lets some of those rules apply where they do not.
    let many = (0..40).map(|n| format!("ioctl errno {} [1,{},==] [0,{n},==]\n", n + 1, 0x5400 + n)).collect::<String>();
    for (name, text) in [
        ("empty", &b"2\ndenylist\n"[..]),
        ("nothing", b"2\nallowlist\n"),
        ("errno for all", b"2\nallowlist errno 38\nread\nwrite\nexit_group\n"),
        ("actions", b"2\ndenylist\nread errno 5\nwrite kill\nopen trap\nopenat trace\nclose log\nmount errno 0\n"),
        ("umount", b"2\nblacklist\nreject_force_umount # with a comment\n[all]\nkexec_load errno 1\n"),
        (
            "multiplexed",
            b"2\ndenylist\nsocket errno 97\naccept errno 1\nrecv errno 2\nshmat errno 3\nsemop errno 4\nipc errno 5\n",
        ),
        ("arm's own", b"2\nallowlist\nset_tls\ncacheflush\nread\n"),
        ("plain wins", b"2\ndenylist\nread errno 1 [0,1,==]\nread errno 2\nwrite errno 2\nwrite errno 1 [0,1,==]\n"),
        ("every condition", every),
        ("nearly all", &nearly_all),
        (
            "overlapping alike",
            b"2\ndenylist\nclone errno 1 [0,1,&=,1]\nclone errno 1 [0,2,&=,2]\nclone errno 1 [1,9,>]\n",
        ),
        ("many", &[b"2\ndenylist\n", many.as_bytes()].concat()),
    ] {
        same(oracle, name, text, X86);
        same(oracle, name, text, ARMS);
        same(oracle, name, text, &[&ARM]);
        same(oracle, name, text, &[&X86_64]);
    }
}

#[test]
fn compile_version_1_answers_as_libseccomp_does() {
    let Some(oracle) = oracle("compile_version_1_answers_as_libseccomp_does") else { return };
    same(oracle, "version 1", b"1\nallowlist\n0\n1\n2\n59\n60\n231\n300\n1024\n", X86);
}

#[test]
fn compile_sections_are_for_their_machine() {
    let Some(oracle) = oracle("compile_sections_are_for_their_machine") else { return };
    let text = b"2\ndenylist\n[x86]\nread errno 1\n[x86_64]\nwrite errno 2\n[x32]\nopen errno 3\n[arm64]\nread errno 4\n[arm]\nread errno 5\n\
        [ppc64le]\nread errno 6\n[all]\nclose errno 7\n";
    same(oracle, "sections", text, X86);
    same(oracle, "sections", text, ARMS);
}

#[test]
fn table_is_what_libseccomp_knows() {
    let Some(oracle) = oracle("table_is_what_libseccomp_knows") else { return };
    let names: Vec<_> =
        (0..table::COUNT as u16).map(|row| String::from_utf8(table::name(row).to_vec()).unwrap()).collect();
    let answers = String::from_utf8(ask(oracle, Some("names"), &names.join("\n"))).unwrap();
    let mut known = 0;
    for (row, line) in (0..).zip(answers.lines()) {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        for (machine, theirs) in MACHINES.iter().zip(words) {
            let theirs: i32 = theirs.parse().unwrap();
            let ours = machine.number(row).map(|number| number as i32);
            // What it has one number for may have another there; what is newer than it has none.
            let multiplexed = machine.multiplexes && (-224..=-101).contains(&theirs);
            if theirs != -1 && !multiplexed {
                assert_eq!(ours, Some(theirs).filter(|number| *number >= 0), "{name} {:?}", machine.section);
                known += 1;
            }
        }
    }
    assert!(known > 2000, "{known}");
}
