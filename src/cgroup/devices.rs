//! `lxc.cgroup2.devices.*` as a BPF program: cgroup v2 has no device files.
//!
//! The rules keep v1's meaning: they are applied in order, the last one that matches an access decides, and what no rule
//! matches is allowed (a list that begins with `deny = a` allows only what follows). The compiler is pure.

use crate::config::{CgroupSetting, Config};
use crate::error::{Error, Result};
use crate::limits;
use crate::sys::bpf;
use crate::text::{number, shown};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One rule: `c 1:3 rwm` with allow or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    allow: bool,
    /// BPF_DEVCG_DEV_BLOCK 1, BPF_DEVCG_DEV_CHAR 2; None = both.
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    /// BPF_DEVCG_ACC_MKNOD 1, READ 2, WRITE 4.
    access: u32,
}

const ALL_ACCESS: u32 = 7;

/// Reads the value of a `devices.allow` or `devices.deny`; None if it is not one of the kernel's forms.
pub fn parse(allow: bool, text: &[u8]) -> Option<Rule> {
    let mut words = text.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let kind = match words.next()? {
        b"a" => None,
        b"b" => Some(1),
        b"c" => Some(2),
        _ => return None,
    };
    let everything = Rule { allow, kind, major: None, minor: None, access: ALL_ACCESS };
    let Some(numbers) = words.next() else { return kind.is_none().then_some(everything) };
    let mut numbers = numbers.split(|b| *b == b':').map(|text| match text {
        b"*" => Some(None),
        digits => number(digits).and_then(|n| u32::try_from(n).ok()).map(Some),
    });
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let mut access = 0;
    for letter in words.next()? {
        access |= access_of(*letter)?;
    }
    (numbers.next().is_none() && words.next().is_none()).then_some(Rule { major, minor, access, ..everything })
}

fn access_of(letter: u8) -> Option<u32> {
    match letter {
        b'm' => Some(1),
        b'r' => Some(2),
        b'w' => Some(4),
        _ => None,
    }
}

/// Instructions of a whole program: at most ten a rule, and a frame of eight.
pub type Program = heapless::Vec<u64, { (limits::CGROUP_SETTINGS + limits::DEVICE_RULES) * 10 + 8 }>;

/// One instruction in the kernel's form (Documentation/bpf/standardization/instruction-set.rst), little or big endian alike
/// because the fields are placed as the struct has them.
const fn instruction(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const COPY: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Compiles the rules. None if they do not fit, which the limit on settings rules out.
///
/// Register 2 holds the kind, 3 the access asked for, 4 major, 5 minor (struct bpf_cgroup_dev_ctx).
pub fn compile(rules: &[Rule]) -> Option<Program> {
    let mut program = Program::new();
    let head = [
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    program.extend_from_slice(&head).ok()?;
    // The last matching rule decides, so the program asks them from the last to the first.
    for rule in rules.iter().rev() {
        let mut tests: heapless::Vec<(u8, u8, i32), 6> = heapless::Vec::new();
        if let Some(kind) = rule.kind {
            tests.push((JUMP_NOT_EQUAL, 2, kind as i32)).ok()?;
        }
        if let Some(major) = rule.major {
            tests.push((JUMP_NOT_EQUAL, 4, major as i32)).ok()?;
        }
        if let Some(minor) = rule.minor {
            tests.push((JUMP_NOT_EQUAL, 5, minor as i32)).ok()?;
        }
        // An allow rule must cover all of the access; a deny rule needs to touch any of it.
        let (mask, jump) =
            if rule.allow { (!rule.access & ALL_ACCESS, JUMP_NOT_EQUAL) } else { (rule.access, JUMP_EQUAL) };
        let masked = mask != 0 && (rule.allow || mask != ALL_ACCESS);
        let skip_from = tests.len() + if masked { 3 } else { 0 } + 2;
        for (index, (code, register, value)) in tests.iter().enumerate() {
            let offset = skip_from - index - 1;
            program.push(instruction(*code, *register, 0, i16::try_from(offset).ok()?, *value)).ok()?;
        }
        if masked {
            program.push(instruction(COPY, 0, 3, 0, 0)).ok()?;
            program.push(instruction(AND, 0, 0, 0, mask as i32)).ok()?;
            program.push(instruction(jump, 0, 0, 2, 0)).ok()?;
        }
        program.push(instruction(MOVE, 0, 0, 0, i32::from(rule.allow))).ok()?;
        program.push(instruction(EXIT, 0, 0, 0, 0)).ok()?;
        if tests.is_empty() && !masked {
            // It matches everything, so no earlier rule can decide; the kernel refuses instructions that are never reached.
            return Some(program);
        }
    }
    program.push(instruction(MOVE, 0, 0, 0, 1)).ok()?;
    program.push(instruction(EXIT, 0, 0, 0, 0)).ok()?;
    Some(program)
}

fn rule_of(setting: &CgroupSetting<'_>) -> Option<Rule> {
    let allow = match setting.file.to_bytes() {
        b"devices.allow" => true,
        b"devices.deny" => false,
        _ => return None,
    };
    parse(allow, setting.value.to_bytes())
}

/// A rule in the form of LXC's socket command: `{char kind; int major; int minor; char access[4]; int allow}`; a negative
/// number stands for all. None if it is no such rule.
pub fn from_wire(bytes: &[u8]) -> Option<Rule> {
    let (kind, rest) = bytes.split_first()?;
    let kind = match kind {
        b'a' => None,
        b'b' => Some(1),
        b'c' => Some(2),
        _ => return None,
    };
    let (major, rest) = rest.get(3..)?.split_first_chunk()?;
    let (minor, rest) = rest.split_first_chunk()?;
    let (letters, rest) = rest.split_first_chunk::<4>()?;
    let (allow, _) = rest.split_first_chunk()?;
    let number = |bytes: &[u8; 4]| u32::try_from(i32::from_ne_bytes(*bytes)).ok();
    let mut access = 0;
    for letter in letters.iter().take_while(|letter| **letter != 0) {
        access |= access_of(*letter)?;
    }
    if access == 0 && kind.is_some() {
        return None;
    }
    let access = if access == 0 { ALL_ACCESS } else { access };
    Some(Rule { allow: i32::from_ne_bytes(*allow) != 0, kind, major: number(major), minor: number(minor), access })
}

/// What decides over devices in a container's v2 cgroup now.
#[derive(Default)]
pub struct InForce {
    program: Option<OwnedFd>,
    added: heapless::Vec<Rule, { limits::DEVICE_RULES }>,
}

impl InForce {
    /// Compiles the config's v2 device list and attaches it to the cgroup.
    #[inline(never)] // its frame is for those who have a list
    pub fn attach(&mut self, config: &Config<'_>, cgroup: BorrowedFd<'_>) -> Result<()> {
        let first = settings(config).next().map_or(crate::config::DEFAULT, |setting| setting.at);
        if let Some(setting) = settings(config).find(|setting| rule_of(setting).is_none()) {
            return Err(Error::new(
                "cgroup limit",
                format_args!(
                    "{}: lxc.cgroup2.{} = {}: expected \"a\" or TYPE MAJOR:MINOR ACCESS, e.g. \"c 1:3 rwm\"",
                    config.place(setting.at),
                    shown(setting.file),
                    shown(setting.value)
                ),
            ));
        }
        self.load(config, cgroup).map_err(|errno| {
            let place = config.place(first);
            Error::os("cgroup limit", errno, format_args!("{place}: lxc.cgroup2.devices: the BPF program"))
        })
    }

    /// Adds a rule to a running container. Where no list is in force, everything is allowed already.
    ///
    /// # Errors
    /// ENOSPC: more rules than `limits::DEVICE_RULES`; else what bpf(2) says.
    pub fn add(&mut self, rule: Rule, config: &Config<'_>, cgroup: BorrowedFd<'_>) -> nix::Result<()> {
        if self.program.is_none() && rule.allow {
            return Ok(());
        }
        self.added.push(rule).map_err(|_| Errno::ENOSPC)?;
        self.load(config, cgroup).inspect_err(|_| {
            self.added.pop();
        })
    }

    /// Puts the config's rules and the added ones in force. The old program goes after the new one has come.
    #[inline(never)] // its 60 KB of program are for those who have a list
    fn load(&mut self, config: &Config<'_>, cgroup: BorrowedFd<'_>) -> nix::Result<()> {
        let mut rules: heapless::Vec<Rule, { limits::CGROUP_SETTINGS + limits::DEVICE_RULES }> = heapless::Vec::new();
        rules.extend(settings(config).filter_map(rule_of));
        rules.extend(self.added.iter().copied());
        let program = bpf::load_device_program(&compile(&rules).ok_or(Errno::E2BIG)?)?;
        bpf::attach_device_program(cgroup, program.as_fd())?;
        if let Some(old) = self.program.replace(program) {
            bpf::detach_device_program(cgroup, old.as_fd())?;
        }
        Ok(())
    }
}

fn settings<'c, 't>(config: &'c Config<'t>) -> impl Iterator<Item = &'c CgroupSetting<'t>> {
    config.cgroup.iter().filter(|setting| setting.v2 && setting.file.to_bytes().starts_with(b"devices."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tiny interpreter of the instructions used above: the oracle for what the kernel would decide.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [(access << 16 | kind) as u64, major as u64, minor as u64];
        let mut r = [0u64; 11];
        let mut pc = 0usize;
        loop {
            let [code, regs, o0, o1, i0, i1, i2, i3] = program[pc].to_ne_bytes();
            let (dst, src) = ((regs & 15) as usize, (regs >> 4) as usize);
            let offset = i16::from_ne_bytes([o0, o1]);
            let immediate = i32::from_ne_bytes([i0, i1, i2, i3]) as i64 as u64;
            pc += 1;
            match code {
                LOAD_WORD => r[dst] = context[offset as usize / 4],
                MOVE => r[dst] = immediate,
                COPY => r[dst] = r[src],
                AND => r[dst] &= immediate,
                SHIFT_RIGHT => r[dst] >>= immediate,
                JUMP_NOT_EQUAL if r[dst] != immediate => pc += offset as usize,
                JUMP_EQUAL if r[dst] == immediate => pc += offset as usize,
                JUMP_NOT_EQUAL | JUMP_EQUAL => {}
                EXIT => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn program(rules: &[(bool, &str)]) -> Program {
        let rules: Vec<Rule> = rules.iter().map(|(allow, text)| parse(*allow, text.as_bytes()).unwrap()).collect();
        compile(&rules).unwrap()
    }

    #[test]
    fn compile_deny_all_then_allow_some_allows_only_those() {
        let p = program(&[(false, "a"), (true, "c *:* m"), (true, "c 1:3 rwm"), (true, "c 136:* rw")]);
        assert!(run(&p, 2, 6, 1, 3));
        assert!(run(&p, 2, 1, 9, 9), "mknod of any character device");
        assert!(!run(&p, 1, 1, 9, 9), "block devices stay denied");
        assert!(!run(&p, 2, 2, 1, 5));
        assert!(run(&p, 2, 4, 136, 7));
        assert!(!run(&p, 2, 5, 136, 7), "write and mknod together are not covered by one rule");
    }

    #[test]
    fn compile_deny_after_allow_wins_for_any_touched_access() {
        let p = program(&[(false, "c 5:1 w")]);
        assert!(!run(&p, 2, 4, 5, 1));
        assert!(!run(&p, 2, 6, 5, 1));
        assert!(run(&p, 2, 2, 5, 1));
        assert!(run(&p, 2, 4, 5, 2));
        let p = program(&[(false, "a"), (true, "a")]);
        assert!(run(&p, 1, 7, 8, 0));
    }

    #[test]
    fn compile_rules_before_one_that_matches_everything_are_left_out() {
        let p = program(&[(true, "c 1:3 rwm"), (false, "a"), (true, "c 1:5 r")]);
        assert_eq!(p, program(&[(false, "a"), (true, "c 1:5 r")]));
        assert!(!run(&p, 2, 2, 1, 3));
        assert_eq!(program(&[(false, "a")]).len(), 8);
    }

    #[test]
    fn wire_rule_means_what_its_text_means() {
        let wire = |kind: u8, major: i32, minor: i32, access: &[u8; 4], allow: i32| {
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend([major, minor].map(i32::to_ne_bytes).concat());
            bytes.extend(access);
            bytes.extend(allow.to_ne_bytes());
            from_wire(&bytes)
        };
        assert_eq!(wire(b'c', 1, 3, b"rwm\0", 1), parse(true, b"c 1:3 rwm"));
        assert_eq!(wire(b'b', 8, -1, b"r\0\0\0", 0), parse(false, b"b 8:* r"));
        assert_eq!(wire(b'a', -1, -1, b"\0\0\0\0", 1), parse(true, b"a"));
        assert_eq!(wire(b'c', 1, 3, b"\0\0\0\0", 1), None);
        assert_eq!(wire(b'c', 1, 3, b"rx\0\0", 1), None);
        assert_eq!(wire(b'x', 1, 3, b"rwm\0", 1), None);
        assert_eq!(from_wire(b"c\0\0\0\x01"), None);
    }

    #[test]
    fn parse_malformed_rules_are_none() {
        for bad in [
            "",
            "x 1:3 r",
            "c",
            "c 1",
            "c 1:3",
            "c 1:3 q",
            "c -1:3 r",
            "c 1:3 r extra",
            "c 1:2:3 r",
            "c 1:99999999999 r",
        ] {
            assert_eq!(parse(true, bad.as_bytes()), None, "{bad}");
        }
    }
}
