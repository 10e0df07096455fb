//! What the config leaves to chance is drawn once, before the first life: a guest that reboots keeps its hardware address, and
//! the tools read what was drawn as they read the rest of the config.

use crate::config::{Config, NamedValue, NicType};
use crate::text::{Arena, Full};

/// Draws the digits of `hwaddr` that are `x`, and a name for each veth that has none on the host.
pub fn settle<'t>(config: &mut Config<'t>, arena: &Arena<'t>, seed: fn() -> u64) -> Result<(), Full> {
    if config.nics.is_empty() {
        return Ok(());
    }
    let mut dice = Dice(seed());
    for nic in config.nics.iter_mut() {
        for field in nic.fields.iter_mut().filter(|field| field.name == c"hwaddr") {
            let mut text = [0u8; 17];
            draw_address(field.value.to_bytes(), &mut text, &mut dice);
            field.value = arena.copy(&text)?;
        }
        if nic.kind == NicType::Veth && !nic.fields.iter().any(|field| field.name == c"veth.pair") {
            let name = veth_name(&mut dice);
            let pair = NamedValue { name: c"veth.pair", value: arena.copy(&name)?, at: nic.at };
            nic.fields.push(pair).map_err(|_| Full)?;
        }
    }
    Ok(())
}

/// Random numbers that nobody's safety depends on: splitmix64 by Steele, Lea and Flood.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of(&mut self, all: &[u8]) -> u8 {
        let at = self.throw() % (all.len() as u64).max(1);
        all.get(at as usize).copied().unwrap_or(b'0')
    }
}

/// The second digit holds the bits "multicast" and "made up here": of those drawn the first is never set, the second always.
fn draw_address(pattern: &[u8], text: &mut [u8; 17], dice: &mut Dice) {
    for (at, (to, from)) in text.iter_mut().zip(pattern).enumerate() {
        *to = match from {
            b'x' | b'X' if at == 1 => dice.one_of(b"26ae"),
            b'x' | b'X' => dice.one_of(b"0123456789abcdef"),
            other => *other,
        };
    }
}

fn veth_name(dice: &mut Dice) -> [u8; 10] {
    let mut name = *b"veth......";
    for letter in name.iter_mut().filter(|letter| **letter == b'.') {
        *letter = dice.one_of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draw_address_fills_the_gaps_and_stays_unicast() {
        let mut dice = Dice(1);
        for _ in 0..1000 {
            let mut text = [0; 17];
            draw_address(b"xx:16:3e:Xx:xx:0A", &mut text, &mut dice);
            let bytes = super::super::address::hardware(&text).unwrap();
            assert_eq!(bytes[0] & 3, 2, "{text:?}");
            assert_eq!((bytes[1], bytes[2], bytes[5]), (0x16, 0x3e, 0x0a));
        }
        let mut text = [0; 17];
        draw_address(b"00:16:3e:00:00:01", &mut text, &mut dice);
        assert_eq!(&text, b"00:16:3e:00:00:01");
    }

    #[test]
    fn veth_names_differ() {
        let mut dice = Dice(7);
        let names: std::collections::BTreeSet<_> = (0..500).map(|_| veth_name(&mut dice)).collect();
        assert_eq!(names.len(), 500);
        assert!(names.iter().all(|name| name.starts_with(b"veth")));
    }
}
