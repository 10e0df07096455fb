//! Patterns for names: the part of extended regular expressions that people use for them (regex(7)): letters, `.`, `[a-z]`,
//! `[^x]`, `\`, `*`, `+`, `?`, `^`, `$` and `|`. No groups and no counts; they are refused, not misread. Pure.

/// One place of a branch: what fits, and how often.
struct Piece<'p> {
    atom: Atom<'p>,
    least: bool,
    many: bool,
}

#[derive(Clone, Copy)]
enum Atom<'p> {
    Any,
    Byte(u8),
    /// What stands between the brackets; true: what does not fit.
    Set(&'p [u8], bool),
    Begin,
    End,
}

/// Whether `pattern` fits `text`, somewhere, or from its beginning to its end if `whole`. Err: the pattern has a part that is
/// not known here.
pub fn fits(pattern: &[u8], text: &[u8], whole: bool) -> Result<bool, &'static str> {
    let mut found = false;
    for branch in pattern.split(|byte| *byte == b'|') {
        let pieces = parse(branch)?;
        let starts = if whole { 0..=0 } else { 0..=text.len() };
        found |= starts.into_iter().any(|at| run(&pieces, text, at, whole));
    }
    Ok(found)
}

fn parse(branch: &[u8]) -> Result<Vec<Piece<'_>>, &'static str> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut rest = branch;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let atom = match first {
            b'*' | b'+' | b'?' => {
                let last = pieces.last_mut().ok_or("nothing to repeat")?;
                last.least &= *first == b'+';
                last.many |= *first != b'?';
                continue;
            }
            b'(' | b')' | b'{' | b'}' => return Err("groups and counts are not known here"),
            b'.' => Atom::Any,
            b'^' => Atom::Begin,
            b'$' => Atom::End,
            b'[' => {
                let (not, from) = if rest.first() == Some(&b'^') { (true, 1) } else { (false, 0) };
                // A bracket that comes first is a letter.
                let end = rest.iter().skip(from + 1).position(|byte| *byte == b']').ok_or("a [ without its ]")?;
                let end = end + from + 1;
                let set = rest.get(from..end).unwrap_or_default();
                rest = rest.get(end + 1..).unwrap_or_default();
                Atom::Set(set, not)
            }
            b'\\' => {
                let (byte, tail) = rest.split_first().ok_or("a \\ at the end")?;
                rest = tail;
                Atom::Byte(*byte)
            }
            byte => Atom::Byte(*byte),
        };
        pieces.push(Piece { atom, least: true, many: false });
    }
    Ok(pieces)
}

/// Whether the pieces fit from `at` on. Names have 255 bytes at most, so that trying everything is cheap enough.
fn run(pieces: &[Piece<'_>], text: &[u8], at: usize, whole: bool) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return !whole || at == text.len() };
    match piece.atom {
        Atom::Begin => return at == 0 && run(rest, text, at, whole),
        Atom::End => return at == text.len() && run(rest, text, at, whole),
        _ => {}
    }
    let most = if piece.many { usize::MAX } else { 1 };
    let reach = text.iter().skip(at).take(most).take_while(|byte| piece.atom.takes(**byte)).count();
    (usize::from(piece.least)..=reach).rev().any(|count| run(rest, text, at + count, whole))
}

impl Atom<'_> {
    fn takes(self, byte: u8) -> bool {
        match self {
            Atom::Any => true,
            Atom::Byte(own) => own == byte,
            Atom::Set(set, not) => in_set(set, byte) != not,
            Atom::Begin | Atom::End => false,
        }
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    loop {
        match set {
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == byte {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_fits_as_regcomp_would_have_it() {
        for (pattern, text, whole, expected) in [
            ("android", "android", true, true),
            ("and", "android", true, false),
            ("and", "android", false, true),
            (".*", "", true, true),
            ("a.*d", "android", true, true),
            ("a+b?c*", "aab", true, true),
            ("a+", "", true, false),
            ("x|android|y", "android", true, true),
            ("[a-c]+[^0-9]", "abcx", true, true),
            ("[]x]", "]", true, true),
            ("[a-]", "-", true, true),
            ("^and", "xand", false, false),
            ("oid$", "android", false, true),
            ("a\\.b", "a.b", true, true),
            ("a\\.b", "axb", true, false),
            ("", "android", false, true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes(), whole), Ok(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn pattern_with_unknown_parts_is_refused() {
        for bad in ["(a)", "a{2}", "*a", "[a", "a\\"] {
            assert!(fits(bad.as_bytes(), b"a", true).is_err(), "{bad}");
        }
    }
}
