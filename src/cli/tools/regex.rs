//! Extended regular expressions of POSIX (XBD 9.4) for names: bytes of the C locale, `. [] ^ $ * + ? {m,n} | ()` and `\` before
//! a punctuation mark. What else some implementations understand (`\w`, back references, `[.x.]`) is refused, not guessed.
//! Pure.

/// A compiled expression: branches with `|` between them.
#[derive(Debug)]
pub struct Regex(Vec<Vec<Piece>>);

#[derive(Debug)]
struct Piece {
    atom: Atom,
    min: u8,
    /// None: as often as it goes.
    max: Option<u8>,
}

#[derive(Debug)]
enum Atom {
    /// One byte of a set.
    Set([u64; 4]),
    Begin,
    End,
    Group(Vec<Vec<Piece>>),
}

/// How deep groups may stand inside each other.
const DEPTH: u8 = 16;

impl Regex {
    /// Compiles `text`. Err: what is not understood.
    pub fn new(text: &str) -> Result<Regex, &'static str> {
        let mut rest = text.as_bytes();
        let branches = branches(&mut rest, 0)?;
        if rest.is_empty() { Ok(Regex(branches)) } else { Err("a ) without its (") }
    }

    /// Whether it matches somewhere in `text`.
    pub fn matches(&self, text: &[u8]) -> bool {
        (0..=text.len()).any(|start| any(&self.0, text, start, &mut |_| true))
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

fn branches(rest: &mut &[u8], depth: u8) -> Result<Vec<Vec<Piece>>, &'static str> {
    if depth > DEPTH {
        return Err("groups too deep");
    }
    let mut all = vec![Vec::new()];
    while let Some(first) = rest.first().copied().filter(|first| *first != b')') {
        *rest = rest.get(1..).unwrap_or_default();
        if first == b'|' {
            all.push(Vec::new());
            continue;
        }
        let atom = match first {
            b'^' => Atom::Begin,
            b'$' => Atom::End,
            b'(' => {
                let group = branches(rest, depth + 1)?;
                take(rest).ok_or("a ( without its )")?;
                Atom::Group(group)
            }
            b'.' => Atom::Set([u64::MAX; 4]),
            b'[' => Atom::Set(bracket(rest)?),
            b'*' | b'+' | b'?' | b'{' => return Err("nothing to repeat"),
            b'\\' => {
                Atom::Set(one(take(rest).filter(u8::is_ascii_punctuation).ok_or("a \\ before no punctuation mark")?))
            }
            byte => Atom::Set(one(byte)),
        };
        let (min, max) = repetition(rest)?;
        if let Some(branch) = all.last_mut() {
            branch.push(Piece { atom, min, max });
        }
    }
    Ok(all)
}

/// How often: what stands behind an atom.
fn repetition(rest: &mut &[u8]) -> Result<(u8, Option<u8>), &'static str> {
    let range = match rest.first() {
        Some(b'*') => (0, None),
        Some(b'+') => (1, None),
        Some(b'?') => (0, Some(1)),
        Some(b'{') => {
            let wrong = "not {N}, {N,} or {N,M} with N <= M <= 255";
            let end = memchr::memchr(b'}', rest).ok_or(wrong)?;
            let inside = rest.get(1..end).and_then(|inside| core::str::from_utf8(inside).ok()).ok_or(wrong)?;
            *rest = rest.get(end..).unwrap_or_default();
            let count = |text: &str| text.parse::<u8>().map_err(|_| wrong);
            match inside.split_once(',') {
                None => (count(inside)?, Some(count(inside)?)),
                Some((min, "")) => (count(min)?, None),
                Some((min, max)) => (count(min)?, Some(count(max)?)),
            }
        }
        _ => return Ok((1, Some(1))),
    };
    *rest = rest.get(1..).unwrap_or_default();
    if range.1.is_some_and(|max| max < range.0) || matches!(rest.first(), Some(b'*' | b'+' | b'?' | b'{')) {
        return Err("repetition of a repetition, or to less than its beginning");
    }
    Ok(range)
}

fn one(byte: u8) -> [u64; 4] {
    let mut set = [0; 4];
    add(&mut set, byte);
    set
}

fn add(set: &mut [u64; 4], byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 6)) {
        *word |= 1 << (byte & 63);
    }
}

fn has(set: &[u64; 4], byte: u8) -> bool {
    set.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 != 0)
}

/// A bracket expression, behind its `[`.
fn bracket(rest: &mut &[u8]) -> Result<[u64; 4], &'static str> {
    let open = "a [ without its ]";
    let negated = rest.first() == Some(&b'^');
    if negated {
        take(rest);
    }
    let mut set = [0; 4];
    let mut first = true;
    loop {
        let byte = take(rest).ok_or(open)?;
        match (byte, rest.first()) {
            (b']', _) if !first => break,
            (b'[', Some(b':')) => {
                let end = crate::text::find(rest, b":]").ok_or(open)?;
                let class = class(rest.get(1..end).unwrap_or_default()).ok_or("no such [:class:]")?;
                (0..=255).filter(class).for_each(|byte| add(&mut set, byte));
                *rest = rest.get(end + 2..).unwrap_or_default();
            }
            (b'[', Some(b'.' | b'=')) => return Err("[. .] and [= =]"),
            // A hyphen before the closing bracket is itself.
            (low, Some(b'-')) if rest.get(1).is_some_and(|high| *high != b']') => {
                take(rest);
                let high = take(rest).filter(|high| *high >= low).ok_or("a range that runs backwards")?;
                (low..=high).for_each(|byte| add(&mut set, byte));
            }
            _ => add(&mut set, byte),
        }
        first = false;
    }
    Ok(if negated { set.map(|word| !word) } else { set })
}

fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"punct" => u8::is_ascii_punctuation,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// Whether one of the branches matches at `at`, and what follows it behind its end.
fn any(branches: &[Vec<Piece>], text: &[u8], at: usize, next: &mut dyn FnMut(usize) -> bool) -> bool {
    branches.iter().any(|branch| all(branch, 0, text, at, next))
}

/// Whether the pieces match at `at`, of which the first has matched `count` times already.
fn all(pieces: &[Piece], count: u8, text: &[u8], at: usize, next: &mut dyn FnMut(usize) -> bool) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return next(at) };
    let enough = count >= piece.min;
    if piece.max.is_none_or(|max| count < max) {
        // Past 255 only "as often as it goes" goes on, for which the count matters no more.
        let counted = count.saturating_add(1);
        let again = match &piece.atom {
            Atom::Set(set) => {
                text.get(at).is_some_and(|byte| has(set, *byte)) && all(pieces, counted, text, at + 1, next)
            }
            // These match nothing, so more than once is the same as once.
            Atom::Begin => at == 0 && all(rest, 0, text, at, next),
            Atom::End => at == text.len() && all(rest, 0, text, at, next),
            // A repetition that matches nothing is not tried for ever.
            Atom::Group(group) => {
                any(group, text, at, &mut |end| (end > at || !enough) && all(pieces, counted, text, end, next))
            }
        };
        if again {
            return true;
        }
    }
    enough && all(rest, 0, text, at, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_matches_what_posix_says() {
        for (expression, text, expected) in [
            ("", "x", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a.c$", "abc", true),
            ("^a.c$", "abcd", false),
            ("^(web|db)[0-9]+$", "db12", true),
            ("^(web|db)[0-9]+$", "db", false),
            ("^a{2,3}$", "aaa", true),
            ("^a{2,3}$", "aaaa", false),
            ("^a{2}b{1,}$", "aabbb", true),
            ("^(ab*)*c$", "abbabac", true),
            ("^(a*)*$", "aaab", false),
            ("^(a|)+b$", "b", true),
            ("[^a-c]", "abc", false),
            ("^[]a]+$", "]a", true),
            ("^[a-]+$", "a-", true),
            ("^[[:upper:]_]+$", "A_B", true),
            (r"^a\.b$", "axb", false),
            (r"a\|b", "a|b", true),
            ("^x?y$", "y", true),
        ] {
            assert_eq!(Regex::new(expression).unwrap().matches(text.as_bytes()), expected, "{expression} {text}");
        }
    }

    #[test]
    fn expression_not_understood_is_refused() {
        for expression in
            ["[", "(", ")", "*a", "a**", "a{3,2}", "a{,2}", "a{300}", r"\w", r"\", "[[:x:]]", "[b-a]", "[[.a.]]"]
        {
            assert!(Regex::new(expression).is_err(), "{expression}");
        }
        assert!(Regex::new(&"(".repeat(100)).is_err());
    }
}
