//! The head of a program: what the kernel looks at before it executes it. Pure.

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub enum Program<'a> {
    /// An ELF file.
    Elf {
        /// 64 bits, else 32.
        wide: bool,
        /// `e_machine`
        machine: u16,
        /// Where its loader's path stands, and how long it is with its NUL; None: it needs none.
        loader: Option<(u64, u64)>,
    },
    /// A script and its interpreter.
    Script(&'a [u8]),
    /// Nothing that the kernel executes by itself.
    Unknown,
}

/// Looks at the first bytes of a file (4096 are enough: that is where linkers put the program headers).
pub fn read(head: &[u8]) -> Program<'_> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line).trim_ascii();
        let word = line.split(u8::is_ascii_whitespace).next().unwrap_or(line);
        return if word.is_empty() { Program::Unknown } else { Program::Script(word) };
    }
    elf(head).unwrap_or(Program::Unknown)
}

/// elf(5): the offsets of the fields for 32 and 64 bits.
fn elf(head: &[u8]) -> Option<Program<'_>> {
    let ident = head.strip_prefix(b"\x7fELF")?;
    let wide = match ident.first()? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let big = match ident.get(1)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(length)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    };
    let word = if wide { 8 } else { 4 };
    let machine = number(18, 2)? as u16;
    let (headers, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    const INTERP: u64 = 3;
    let loader = (0..count).find_map(|index| {
        let at = usize::try_from(headers.checked_add(index * size)?).ok()?;
        if number(at, 4)? != INTERP {
            return None;
        }
        let (offset, length) = if wide { (at + 8, at + 32) } else { (at + 4, at + 16) };
        Some((number(offset, word)?, number(length, word)?))
    });
    Some(Program::Elf { wide, machine, loader })
}

const I386: u16 = 3;
const ARM: u16 = 40;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const RISCV: u16 = 243;

/// Whether a kernel of this machine (uname's name) can execute a program; a machine that is not known here is believed.
pub fn fits(kernel: &str, machine: u16, wide: bool) -> bool {
    match kernel {
        "x86_64" => machine == X86_64 || machine == I386,
        "aarch64" => machine == AARCH64 || machine == ARM,
        "riscv64" => machine == RISCV && wide,
        _ if kernel.starts_with("arm") => machine == ARM,
        "i386" | "i486" | "i586" | "i686" => machine == I386,
        _ => true,
    }
}

/// The name of a machine, for a person.
pub fn machine_name(machine: u16) -> &'static str {
    match machine {
        I386 => "32-bit x86",
        X86_64 => "x86_64",
        ARM => "32-bit ARM",
        AARCH64 => "aarch64",
        RISCV => "RISC-V",
        _ => "another machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(wide: bool, machine: u16, kind: u32) -> Vec<u8> {
        let mut head = vec![0; 256];
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1]);
        put(18, &machine.to_le_bytes());
        if wide {
            put(32, &64u64.to_le_bytes());
            put(54, &[56, 0, 2, 0]);
            put(64 + 56, &kind.to_le_bytes());
            put(64 + 56 + 8, &200u64.to_le_bytes());
            put(64 + 56 + 32, &28u64.to_le_bytes());
        } else {
            put(28, &52u32.to_le_bytes());
            put(42, &[32, 0, 1, 0]);
            put(52, &kind.to_le_bytes());
            put(56, &200u32.to_le_bytes());
            put(68, &19u32.to_le_bytes());
        }
        head
    }

    #[test]
    fn read_elf_of_both_sizes() {
        let elf = |wide, machine, loader| Program::Elf { wide, machine, loader };
        assert_eq!(read(&file(true, X86_64, 3)), elf(true, X86_64, Some((200, 28))));
        assert_eq!(read(&file(false, ARM, 3)), elf(false, ARM, Some((200, 19))));
        assert_eq!(read(&file(true, AARCH64, 1)), elf(true, AARCH64, None));
        assert_eq!(read(b"\x7fELF\x02\x01"), Program::Unknown);
    }

    #[test]
    fn read_script_interpreter_is_the_first_word() {
        assert_eq!(read(b"#! /bin/sh -e\nx"), Program::Script(b"/bin/sh"));
        assert_eq!(read(b"#!/system/bin/sh"), Program::Script(b"/system/bin/sh"));
        assert_eq!(read(b"#!\n/bin/sh"), Program::Unknown);
        assert_eq!(read(b""), Program::Unknown);
    }

    #[test]
    fn fits_pairs_of_word_sizes() {
        assert!(fits("x86_64", I386, false) && fits("x86_64", X86_64, true) && !fits("x86_64", ARM, false));
        assert!(fits("aarch64", ARM, false) && !fits("armv7l", AARCH64, true) && !fits("i686", X86_64, true));
        assert!(fits("armv8l", ARM, false) && fits("s390x", 22, true));
    }
}
