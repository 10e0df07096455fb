//! Reading a property out of a bionic property area. Pure: the area is a function that gives its words.
//!
//! The area is the guest's memory. It may be half made, change under our eyes or be made to hurt us: every offset is
//! checked by whoever gives the words, every walk is bounded, and a value counts only if its serial was the same before and
//! after it was read.
//!
//! Layout (bionic's prop_area, prop_bt and prop_info, little-endian words): a header of 128 bytes, `bytes_used, serial, magic,
//! version`, then data, in which offsets count from its start and 0 is nothing. A name is looked up piece by piece (between
//! the dots): each piece is a node `namelen, prop, left, right, children, name...` in a binary tree of its own, ordered by
//! length first. Until Android 5 `namelen` was one byte and three of zeroes, which reads the same. A property is `serial,
//! value[92], name...`: the serial's top byte is the value's length, bit 0 says that it is being written. A constant (`ro.`)
//! longer than that (Android 8) has bit 16 set, and at byte 60 the way from itself to its text.

use heapless::Vec;

/// Gives the word at a byte offset that is a multiple of 4; None: there is none.
pub type Words<'a> = &'a dyn Fn(usize) -> Option<u32>;

/// Longest value that is read; the rest of a longer constant is cut off.
pub const VALUE: usize = 256;
/// A property's value.
pub type Value = Vec<u8, VALUE>;

/// Where an area's own serial is, in bytes. bionic counts it up and wakes those who wait for it at each change of any
/// property: up to Android 6 in the one area, later in that of the file `properties_serial`.
pub const SERIAL_AT: usize = 4;

const MAGIC_AT: usize = 8;
const VERSION_AT: usize = 12;
const MAGIC: u32 = 0x504f_5250;
const VERSION: u32 = 0xfc6e_d0ab;
/// Where the data begins.
const DATA: usize = 128;
/// Bytes of a node before its name.
const NODE: usize = 20;
/// Bytes of a value with its NUL.
const VALUE_MAX: u32 = 92;
/// In a property: from its start to the word that leads to a long value.
const LONG_AT: usize = 4 + 56;
const LONG: u32 = 1 << 16;
const DIRTY: u32 = 1;
/// More nodes than any name is away from the root. A tree that was never balanced may be a list.
const STEPS: usize = 10_000;
/// How often a value that changes while it is read is read again.
const TRIES: usize = 8;

/// Whether this is an area that was made completely.
pub fn is_area(words: Words<'_>) -> bool {
    words(MAGIC_AT) == Some(MAGIC) && words(VERSION_AT) == Some(VERSION)
}

/// The value of the property `name`. None: there is none, or it is just being written.
pub fn read(words: Words<'_>, name: &[u8]) -> Option<Value> {
    if !is_area(words) {
        return None;
    }
    let at = find(words, name)?;
    (0..TRIES).find_map(|_| read_at(words, at, name.starts_with(b"ro.")))
}

/// Where the property is.
fn find(words: Words<'_>, name: &[u8]) -> Option<usize> {
    let mut node = DATA;
    let mut steps = 0;
    for piece in name.split(|byte| *byte == b'.') {
        // The empty node that each piece's tree hangs from.
        node = follow(words, node, 16)?;
        loop {
            steps += 1;
            if steps > STEPS {
                return None;
            }
            node = match compare(words, piece, node)? {
                core::cmp::Ordering::Equal => break,
                core::cmp::Ordering::Less => follow(words, node, 8)?,
                core::cmp::Ordering::Greater => follow(words, node, 12)?,
            };
        }
    }
    follow(words, node, 4)
}

/// Where the link at `field` bytes in the node leads.
fn follow(words: Words<'_>, node: usize, field: usize) -> Option<usize> {
    match words(node.checked_add(field)?)? {
        0 => None,
        offset => aligned(DATA.checked_add(offset as usize)?),
    }
}

fn aligned(at: usize) -> Option<usize> {
    at.is_multiple_of(4).then_some(at)
}

/// How `piece` is ordered against the node's name.
fn compare(words: Words<'_>, piece: &[u8], node: usize) -> Option<core::cmp::Ordering> {
    let length = words(node)?;
    let by_length = (piece.len() as u64).cmp(&u64::from(length));
    if by_length.is_ne() {
        return Some(by_length);
    }
    let mut at = node.checked_add(NODE)?;
    for four in piece.chunks(4) {
        let word = words(at)?.to_ne_bytes();
        let order = four.cmp(word.get(..four.len())?);
        if order.is_ne() {
            return Some(order);
        }
        at = at.checked_add(4)?;
    }
    Some(core::cmp::Ordering::Equal)
}

fn read_at(words: Words<'_>, at: usize, constant: bool) -> Option<Value> {
    let serial = words(at)?;
    let mut value = Value::new();
    if constant && serial & LONG != 0 {
        let way = words(at.checked_add(LONG_AT)?)?;
        copy(words, aligned(at.checked_add(way as usize)?)?, VALUE, &mut value)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(VALUE);
        value.truncate(end);
        return Some(value);
    }
    let length = serial >> 24;
    if serial & DIRTY != 0 || length >= VALUE_MAX {
        return None;
    }
    copy(words, at.checked_add(4)?, length as usize, &mut value)?;
    (words(at) == Some(serial)).then_some(value)
}

/// Copies `length` bytes from `at`, or as many as there are up to the first word with a NUL.
fn copy(words: Words<'_>, at: usize, length: usize, value: &mut Value) -> Option<()> {
    for index in 0..length.div_ceil(4) {
        let word = words(at.checked_add(index * 4)?)?.to_ne_bytes();
        value.extend_from_slice(&word).ok()?;
        if word.contains(&0) {
            break;
        }
    }
    value.truncate(length);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::area::Area;
    use super::*;

    fn reader(bytes: &[u8]) -> impl Fn(usize) -> Option<u32> {
        |at| Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn get(bytes: &[u8], name: &str) -> Option<String> {
        read(&reader(bytes), name.as_bytes()).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Of so many cases one is tried: an interpreter takes its time.
    const STRIDE: usize = if cfg!(miri) { 61 } else { 1 };

    fn filled() -> std::vec::Vec<u8> {
        let mut bytes = vec![0; 16 * 1024];
        let mut area = Area::format(&mut bytes);
        for (name, value) in [
            ("sys.boot_completed", "0"),
            ("ro.build.version.sdk", "28"),
            ("ro.build.version", "nine"),
            ("init.svc.zygote", "running"),
            ("init.svc.a", ""),
            ("b", "short name"),
        ] {
            area.set(name, value);
        }
        area.set("sys.boot_completed", "1");
        area.set_long("ro.long", &"x".repeat(200));
        bytes
    }

    #[test]
    fn read_every_property_that_was_written_and_no_other() {
        let bytes = filled();
        let get = |name| get(&bytes, name);
        assert_eq!(get("sys.boot_completed").as_deref(), Some("1"));
        assert_eq!(get("ro.build.version.sdk").as_deref(), Some("28"));
        assert_eq!(get("ro.build.version").as_deref(), Some("nine"));
        assert_eq!(get("init.svc.zygote").as_deref(), Some("running"));
        assert_eq!(get("init.svc.a").as_deref(), Some(""));
        assert_eq!(get("b").as_deref(), Some("short name"));
        assert_eq!(get("ro.long"), Some("x".repeat(200)));
        for absent in
            ["", ".", "sys", "sys.", "sys.boot", "sys.boot_completed.", "init.svc.b", "zzzzzzzzzz", "ro.build"]
        {
            assert_eq!(get(absent), None, "{absent}");
        }
    }

    #[test]
    fn read_what_is_no_area_or_not_yet_one_has_nothing() {
        let whole = filled();
        for (at, byte) in [(8, 0), (12, 0)] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert_eq!(get(&bytes, "b"), None);
        }
        assert_eq!(get(&[], "b"), None);
        assert_eq!(get(&[0; 200], "b"), None);
    }

    #[test]
    fn read_value_that_is_being_written_waits_for_the_next_look() {
        let mut bytes = filled();
        let at = find(&reader(&bytes), b"b").unwrap();
        bytes[at] |= 1;
        assert_eq!(get(&bytes, "b"), None);
        bytes[at] &= !1;
        bytes[at + 3] = 92;
        assert_eq!(get(&bytes, "b"), None);
    }

    #[test]
    fn read_value_that_changed_meanwhile_is_read_again() {
        let bytes = filled();
        let at = find(&reader(&bytes), b"b").unwrap();
        let looks = core::cell::Cell::new(0);
        let torn = |place: usize| {
            let word = reader(&bytes)(place)?;
            if place != at {
                return Some(word);
            }
            // The serial goes on between the first pair of looks at it, and stays then.
            looks.set(looks.get() + 1);
            Some(if looks.get() == 1 { word + 2 } else { word })
        };
        assert_eq!(read(&torn, b"b").unwrap(), b"short name");
        assert_eq!(looks.get(), 4);
    }

    #[test]
    fn read_cut_off_anywhere_ends_without_a_value_or_with_the_right_one() {
        let bytes = filled();
        for end in (0..bytes.len().min(2048)).step_by(STRIDE) {
            let value = get(&bytes[..end], "init.svc.zygote");
            assert!(value.is_none() || value.as_deref() == Some("running"), "{end}: {value:?}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "ten thousand steps each are too many for an interpreter")]
    fn read_links_that_lead_in_circles_or_out_of_the_area_end() {
        let whole = filled();
        // Every word of the data in turn leads to itself, to the root, far out, to an odd place.
        for at in (DATA..1024).step_by(4) {
            for link in [(at - DATA) as u32, 0, 20, u32::MAX, u32::MAX - 3, 0x7fff_fffc, 1, DATA as u32] {
                let mut bytes = whole.clone();
                bytes[at..at + 4].copy_from_slice(&link.to_ne_bytes());
                for name in ["init.svc.zygote", "sys.boot_completed", "ro.long"] {
                    get(&bytes, name);
                }
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "ten thousand steps each are too many for an interpreter")]
    fn read_random_bytes_end() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..2_000 {
            let mut bytes = vec![0; 4096];
            bytes[..1024].copy_from_slice(&filled()[..1024]);
            for _ in 0..64 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes[DATA + (state >> 32) as usize % 1000] = state as u8;
            }
            for name in ["init.svc.zygote", "sys.boot_completed", "ro.long", "b"] {
                get(&bytes, name);
            }
        }
    }
}
