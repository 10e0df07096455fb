//! LXC's seccomp policies, versions 1 and 2, read from bytes. Pure.
//!
//! Version 1 is `1`, `allowlist` and a call a line: they are allowed on the native machine, all else kills. Version 2 is `2`,
//! `allowlist` or `denylist` (with what becomes of calls that are not listed behind it), and lines of
//! `NAME [ACTION] [[INDEX,VALUE,OPERATOR[,MASK]]...]`, in sections of machines. Where LXC applies the rules of every section to
//! all machines, a section is here what its name says.

use super::machine::{FOREIGN, Machine};
use super::table;
use crate::limits;
use crate::sys::seccomp::USER_NOTIF;
use crate::text::{Shown, number};
use core::fmt;

/// What the kernel does: a `SECCOMP_RET_*` with its data.
pub type Action = u32;

/// Kills the thread.
pub const KILL: Action = libc::SECCOMP_RET_KILL_THREAD;
/// Makes the call.
pub const ALLOW: Action = libc::SECCOMP_RET_ALLOW;
/// Ends the call with the errno that is added to it.
pub const ERRNO: Action = libc::SECCOMP_RET_ERRNO;
/// Makes the call and logs it (Linux 4.14).
pub const LOG: Action = libc::SECCOMP_RET_LOG;
/// Hands the call over.
pub const NOTIFY: Action = USER_NOTIF;
/// The largest errno that the kernel hands to a program.
const MAX_ERRNO: u32 = 4095;

const ACTIONS: [(&[u8], Action); 7] = [
    (b"kill", KILL),
    (b"errno", ERRNO),
    (b"trap", libc::SECCOMP_RET_TRAP),
    (b"trace", libc::SECCOMP_RET_TRACE),
    (b"log", LOG),
    (b"allow", ALLOW),
    (b"notify", NOTIFY),
];

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// After masking.
    Masked,
}

const OPERATORS: [(&[u8], &[u8], Op); 7] = [
    (b"SCMP_CMP_NE", b"!=", Op::Ne),
    (b"SCMP_CMP_LT", b"<", Op::Lt),
    (b"SCMP_CMP_LE", b"<=", Op::Le),
    (b"SCMP_CMP_EQ", b"==", Op::Eq),
    (b"SCMP_CMP_GE", b">=", Op::Ge),
    (b"SCMP_CMP_GT", b">", Op::Gt),
    (b"SCMP_CMP_MASKED_EQ", b"&=", Op::Masked),
];

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0 on.
    pub index: u8,
    /// How.
    pub op: Op,
    /// Compared with.
    pub value: u64,
    /// For `Op::Masked`.
    pub mask: u64,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// By the name's row in the table.
    Row(u16),
    /// By its number.
    Number(u32),
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which call.
    pub call: Call,
    /// On which machines: `Machine::bit`.
    pub machines: u8,
    /// What becomes of it.
    pub action: Action,
    conditions: (u32, u8),
}

/// A whole policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of calls that have no rule.
    pub default: Action,
    /// Other machines than the native one are not known to it.
    pub native_only: bool,
    /// In order.
    pub rules: Vec<Rule>,
    conditions: Vec<Condition>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'p> {
    /// From 1 on.
    pub line: u32,
    /// What.
    pub what: &'static str,
    /// The word that it is about.
    pub word: &'p [u8],
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if self.word.is_empty() { Ok(()) } else { write!(f, ": {}", Shown(self.word)) }
    }
}

/// What is wrong, and the word.
type Wrong<'p> = (&'static str, &'p [u8]);

impl Policy {
    /// The conditions of a rule, all of which must hold.
    pub fn conditions_of(&self, rule: &Rule) -> &[Condition] {
        let (first, count) = rule.conditions;
        self.conditions.get(first as usize..first as usize + usize::from(count)).unwrap_or_default()
    }

    /// Reads a policy. `unknown` is told of calls that no machine has, by line; they have no rule, as with LXC.
    pub fn parse<'p>(text: &'p [u8], unknown: &mut dyn FnMut(u32, &'p [u8])) -> Result<Policy, Fault<'p>> {
        let mut policy = Policy::default();
        let mut head = Head::Version;
        // Before the first section a rule is for all.
        let mut machines = u8::MAX;
        let mut line = 0;
        for bytes in text.split(|byte| *byte == b'\n') {
            line += 1;
            let end = memchr::memchr(b'#', bytes).unwrap_or(bytes.len());
            let bytes = bytes.get(..end).unwrap_or_default().trim_ascii();
            if bytes.is_empty() {
                continue;
            }
            let done = match head {
                Head::Version => version(bytes).map(|version| head = Head::Style(version)),
                Head::Style(version) => policy.style(bytes, version).map(|action| head = Head::Rules(action)),
                Head::Rules(_) if bytes.starts_with(b"[") => section(bytes).map(|section| machines = section),
                Head::Rules(_) if machines == 0 => Ok(()),
                Head::Rules(action) => policy.rule(bytes, machines, action).map(|known| {
                    if !known {
                        unknown(line, bytes.split(u8::is_ascii_whitespace).next().unwrap_or_default());
                    }
                }),
            };
            done.map_err(|(what, word)| Fault { line, what, word })?;
        }
        match head {
            Head::Rules(_) => Ok(policy),
            Head::Version => Err(Fault { line, what: "the version is missing", word: b"" }),
            Head::Style(_) => Err(Fault { line, what: "allowlist or denylist is missing", word: b"" }),
        }
    }

    /// The second line. The action of rules that name none.
    fn style<'p>(&mut self, bytes: &'p [u8], version: u8) -> Result<Action, Wrong<'p>> {
        let mut words = Words(bytes);
        let (others, action) = match words.next() {
            Some(b"allowlist" | b"whitelist") => (KILL, ALLOW),
            Some(b"denylist" | b"blacklist") if version == 2 => (ALLOW, KILL),
            Some(b"denylist" | b"blacklist") => return Err(("version 1 has only allowlist", bytes)),
            word => return Err(("expected allowlist or denylist", word.unwrap_or_default())),
        };
        self.native_only = version == 1;
        self.default = if version == 2 { action_of(&mut words)?.unwrap_or(others) } else { others };
        words.end()?;
        Ok(action)
    }

    /// A line of a list. Whether the call is known.
    fn rule<'p>(&mut self, bytes: &'p [u8], machines: u8, default: Action) -> Result<bool, Wrong<'p>> {
        let start = memchr::memchr(b'[', bytes).unwrap_or(bytes.len());
        let (before, conditions) = bytes.split_at_checked(start).unwrap_or_default();
        let mut words = Words(before);
        let name = words.next().unwrap_or_default();
        let first = self.conditions.len();
        let (name, mut action) = match name {
            b"reject_force_umount" => {
                let force = libc::MNT_FORCE as u64;
                self.conditions.push(Condition { index: 1, op: Op::Masked, value: force, mask: force });
                (&b"umount2"[..], ERRNO | libc::EACCES as u32)
            }
            name => (name, default),
        };
        if self.native_only || self.conditions.len() > first {
            words.end()?;
            Words(conditions).end()?;
        } else {
            action = action_of(&mut words)?.unwrap_or(default);
            words.end()?;
            self.add_conditions(conditions)?;
        }
        let count = self.conditions.len() - first;
        let call = match (table::find(name), number(name)) {
            (Some(row), _) => Call::Row(row),
            (None, Some(number)) if self.native_only => {
                let known = u32::try_from(number).ok().filter(|number| *number <= i32::MAX as u32);
                Call::Number(known.ok_or(("no number of a call", name))?)
            }
            _ => {
                self.conditions.truncate(first);
                return Ok(false);
            }
        };
        if self.rules.len() == limits::POLICY_RULES {
            return Err(("too many rules", b""));
        }
        self.rules.push(Rule { call, machines, action, conditions: (first as u32, count as u8) });
        Ok(true)
    }

    fn add_conditions<'p>(&mut self, bytes: &'p [u8]) -> Result<(), Wrong<'p>> {
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            let wrong = ("expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]", rest);
            let inside = rest.strip_prefix(b"[").ok_or(wrong)?;
            let end = memchr::memchr(b']', inside).ok_or(wrong)?;
            let (inside, after) = inside.split_at_checked(end).ok_or(wrong)?;
            self.conditions.push(condition(inside).ok_or(wrong)?);
            count += 1;
            if count > 6 {
                return Err(("more than 6 conditions", bytes));
            }
            rest = after.get(1..).unwrap_or_default().trim_ascii_start();
        }
        Ok(())
    }

    /// Whether some call ends in this action.
    pub fn has(&self, action: Action) -> bool {
        self.default == action || self.rules.iter().any(|rule| rule.action == action)
    }
}

/// What the next line is.
#[derive(Clone, Copy)]
enum Head {
    Version,
    Style(u8),
    /// With the action of rules that name none.
    Rules(Action),
}

fn version(bytes: &[u8]) -> Result<u8, Wrong<'_>> {
    match bytes {
        b"1" => Ok(1),
        b"2" => Ok(2),
        _ => Err(("expected the version, 1 or 2", bytes)),
    }
}

/// The machines of `[NAME]`.
fn section(bytes: &[u8]) -> Result<u8, Wrong<'_>> {
    const EVERY: [&Machine; 5] = [
        &super::machine::X86_64,
        &super::machine::I386,
        &super::machine::X32,
        &super::machine::AARCH64,
        &super::machine::ARM,
    ];
    let wrong = ("no machine that is known", bytes);
    let name = bytes.strip_prefix(b"[").and_then(|bytes| bytes.strip_suffix(b"]")).ok_or(wrong)?;
    let is = |other: &&[u8]| name.eq_ignore_ascii_case(other);
    if is(&&b"all"[..]) {
        return Ok(u8::MAX);
    }
    match EVERY.iter().find(|machine| is(&machine.section) || is(&machine.alias)) {
        Some(machine) => Ok(machine.bit),
        None if FOREIGN.iter().any(is) => Ok(0),
        None => Err(wrong),
    }
}

/// An action with its number, if there is one.
fn action_of<'p>(words: &mut Words<'p>) -> Result<Option<Action>, Wrong<'p>> {
    let Some(word) = words.next() else { return Ok(None) };
    let (_, action) = ACTIONS.iter().find(|(name, _)| *name == word).ok_or(("no action that is known", word))?;
    if *action != ERRNO {
        return Ok(Some(*action));
    }
    let value = words.next().unwrap_or_default();
    let errno = number(value).and_then(|errno| u32::try_from(errno).ok()).filter(|errno| *errno <= MAX_ERRNO);
    Ok(Some(ERRNO | errno.ok_or(("errno needs a number from 0 to 4095", value))?))
}

/// What stands between brackets.
fn condition(bytes: &[u8]) -> Option<Condition> {
    let mut fields = bytes.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let index = u8::try_from(whole(fields.next()?)?).ok().filter(|index| *index < 6)?;
    let value = whole(fields.next()?)?;
    let operator = fields.next()?;
    let op = OPERATORS.iter().find(|(name, sign, _)| *name == operator || *sign == operator)?.2;
    // LXC takes 0 for a mask that is missing, which makes a rule that says nothing.
    let mask = match (op, fields.next()) {
        (Op::Masked, Some(mask)) => whole(mask)?,
        (Op::Masked, None) => return None,
        (_, Some(mask)) => whole(mask).map(|_| u64::MAX)?,
        (_, None) => u64::MAX,
    };
    fields.next().is_none().then_some(Condition { index, op, value, mask })
}

/// A number as strtoull(3) reads it.
fn whole(text: &[u8]) -> Option<u64> {
    let digits = |digits: &[u8], base| {
        let plain = digits.first().is_some_and(u8::is_ascii_alphanumeric);
        u64::from_str_radix(core::str::from_utf8(digits).ok().filter(|_| plain)?, base).ok()
    };
    match text {
        [b'0', b'x' | b'X', hex @ ..] => digits(hex, 16),
        [b'0', octal @ ..] if !octal.is_empty() => digits(octal, 8),
        decimal => digits(decimal, 10),
    }
}

/// Words between blanks.
struct Words<'p>(&'p [u8]);

impl<'p> Words<'p> {
    fn next(&mut self) -> Option<&'p [u8]> {
        let rest = self.0.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (word, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    fn end(&mut self) -> Result<(), Wrong<'p>> {
        self.next().map_or(Ok(()), |word| Err(("unexpected", word)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{ARM, I386, X32, X86_64};
    use super::*;

    fn parsed(text: &str) -> Policy {
        Policy::parse(text.as_bytes(), &mut |line, name| panic!("{line}: {}", Shown(name))).unwrap()
    }

    /// A rule as name, machines, action and number of conditions.
    fn told(policy: &Policy) -> Vec<(&str, u8, Action, usize)> {
        let told = |rule: &Rule| {
            let name = match rule.call {
                Call::Row(row) => core::str::from_utf8(table::name(row)).unwrap(),
                Call::Number(_) => "",
            };
            (name, rule.machines, rule.action, policy.conditions_of(rule).len())
        };
        policy.rules.iter().map(told).collect()
    }

    #[test]
    fn parse_both_styles_have_their_defaults() {
        let policy = parsed("\n# comment\n2\n\ndenylist\nread\nwrite errno 38 # why\n  open\tallow  \n");
        assert_eq!((policy.default, policy.native_only), (ALLOW, false));
        assert_eq!(told(&policy), [("read", 255, KILL, 0), ("write", 255, ERRNO | 38, 0), ("open", 255, ALLOW, 0)]);
        let policy = parsed("2\nwhitelist errno 1\nread\nwrite trap\nopen log\nclose notify\nmount trace\r\n");
        assert_eq!(policy.default, ERRNO | 1);
        let actions: Vec<_> = policy.rules.iter().map(|rule| rule.action).collect();
        assert_eq!(actions, [ALLOW, 0x3_0000, LOG, NOTIFY, 0x7ff0_0000]);
        assert!(policy.has(NOTIFY) && policy.has(ERRNO | 1) && !policy.has(KILL));
    }

    #[test]
    fn parse_version_1_takes_numbers_and_names() {
        let policy = parsed("1\nallowlist\n0\n59\nread\n");
        assert_eq!((policy.default, policy.native_only), (KILL, true));
        let calls: Vec<_> = policy.rules.iter().map(|rule| rule.call).collect();
        assert_eq!(calls, [Call::Number(0), Call::Number(59), Call::Row(table::find(b"read").unwrap())]);
        assert!(policy.rules.iter().all(|rule| rule.action == ALLOW));
    }

    #[test]
    fn parse_sections_choose_the_machines() {
        let policy = parsed(
            "2\ndenylist\nread\n[x86]\nread\n[X86_64]\nread\n[amd64]\nread\n[x32]\nread\n[arm]\nread\n[mips64n32]\nread\n[ALL]\nread",
        );
        let machines: Vec<_> = policy.rules.iter().map(|rule| rule.machines).collect();
        assert_eq!(machines, [255, I386.bit, X86_64.bit, X86_64.bit, X32.bit, ARM.bit, 255]);
    }

    #[test]
    fn parse_conditions_in_either_writing() {
        let policy = parsed(
            "2\ndenylist\nreject_force_umount\nread errno 1 [0,0x10,SCMP_CMP_MASKED_EQ,0x30] [ 5 , 010 , >= ]\nwrite [1,7,!=][2,8,<,0]",
        );
        assert_eq!(
            told(&policy),
            [("umount2", 255, ERRNO | 13, 1), ("read", 255, ERRNO | 1, 2), ("write", 255, KILL, 2)]
        );
        let all = u64::MAX;
        assert_eq!(
            policy.conditions,
            [
                Condition { index: 1, op: Op::Masked, value: 1, mask: 1 },
                Condition { index: 0, op: Op::Masked, value: 16, mask: 48 },
                Condition { index: 5, op: Op::Ge, value: 8, mask: all },
                Condition { index: 1, op: Op::Ne, value: 7, mask: all },
                Condition { index: 2, op: Op::Lt, value: 8, mask: all },
            ]
        );
    }

    #[test]
    fn parse_unknown_calls_are_told_and_have_no_rule() {
        let mut told = Vec::new();
        let text = b"2\ndenylist\n_sysctl\nnot_there errno 1 [0,1,==]\n77\n[s390]\nnot_here\n[all]\nread";
        let policy = Policy::parse(text, &mut |line, name| told.push((line, name.to_vec()))).unwrap();
        assert_eq!(told, [(4, b"not_there".to_vec()), (5, b"77".to_vec())]);
        assert_eq!((policy.rules.len(), policy.conditions.len()), (2, 0));
    }

    #[test]
    fn parse_what_is_wrong_names_its_line_and_word() {
        for (text, line, said) in [
            ("", 1, "the version is missing"),
            ("2\n", 2, "allowlist or denylist is missing"),
            ("\n3\n", 2, "expected the version, 1 or 2: 3"),
            ("1\ndenylist\n", 2, "version 1 has only allowlist: denylist"),
            ("2\n\nlist\n", 3, "expected allowlist or denylist: list"),
            ("2\nallowlist nothing\n", 2, "no action that is known: nothing"),
            ("2\nallowlist debug\n", 2, "no action that is known: debug"),
            ("2\nallowlist kill now\n", 2, "unexpected: now"),
            ("2\ndenylist\nread\nread errno\n", 4, "errno needs a number from 0 to 4095"),
            ("2\ndenylist\nread errno 4096\n", 3, "errno needs a number from 0 to 4095: 4096"),
            ("2\ndenylist\nread errno EPERM\n", 3, "errno needs a number from 0 to 4095: EPERM"),
            ("2\ndenylist\nread deny\n", 3, "no action that is known: deny"),
            ("2\ndenylist\nread kill 9\n", 3, "unexpected: 9"),
            ("2\ndenylist\n[z80]\n", 3, "no machine that is known: [z80]"),
            ("2\ndenylist\n[x86\n", 3, "no machine that is known: [x86"),
            ("2\ndenylist\nreject_force_umount errno 1\n", 3, "unexpected: errno"),
            ("2\ndenylist\nread [6,1,==]\n", 3, "expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]: [6,1,==]"),
            ("2\ndenylist\nread [0,1,==\n", 3, "expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]: [0,1,=="),
            ("2\ndenylist\nread [0,1,&=]\n", 3, "expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]: [0,1,&=]"),
            ("2\ndenylist\nread [0,-1,==]\n", 3, "expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]: [0,-1,==]"),
            ("2\ndenylist\nread [0,1,==] x\n", 3, "expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]: x"),
            ("1\nallowlist\n0\n4294967295\n", 4, "no number of a call: 4294967295"),
            ("1\nallowlist\n0 allow\n", 3, "unexpected: allow"),
        ] {
            let fault = Policy::parse(text.as_bytes(), &mut |_, _| {}).unwrap_err();
            assert_eq!((fault.line, fault.to_string().as_str()), (line, said), "{text:?}");
        }
    }

    #[test]
    fn parse_and_compile_any_bytes_without_a_panic() {
        const PIECES: [&[u8]; 20] = [
            b"2\n",
            b"1\n",
            b"denylist",
            b"allowlist ",
            b"\n",
            b"read ",
            b"socket ",
            b"errno ",
            b"5",
            b"[0,",
            b"1,",
            b"&=,",
            b"==",
            b"]",
            b"[x86]",
            b"[all]\n",
            b"#",
            b"\xff\0",
            b"99999999999999999999",
            b"reject_force_umount",
        ];
        let mut seed = 7u64;
        let mut any = |most: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % most
        };
        let (mut good, rounds) = (0, if cfg!(miri) { 20 } else { 20_000 });
        for _ in 0..rounds {
            let mut text = if any(4) > 0 { b"2\ndenylist\n".to_vec() } else { Vec::new() };
            for _ in 0..any(12) {
                text.extend_from_slice(PIECES[any(PIECES.len())]);
            }
            if let Ok(policy) = Policy::parse(&text, &mut |_, _| {}) {
                good += 1;
                super::super::compile::compile(&policy, &[&X86_64, &I386, &X32]).unwrap();
            }
        }
        assert!(good > rounds / 20, "{good}");
    }
}
