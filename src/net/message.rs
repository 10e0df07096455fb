//! rtnetlink(7) requests, byte by byte, in a fixed buffer, and the attributes of answers. Pure.

use core::ffi::CStr;
use nix::errno::Errno;

/// Bytes of the largest request: a veth pair with both names, addresses and numbers takes 200.
const ROOM: usize = 512;

/// Flags of a request that makes something new.
pub const NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// Flags of a request for all there is.
pub const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// A request. Bytes that do not fit are remembered and refused at the end.
pub struct Message {
    bytes: [u8; ROOM],
    length: usize,
    full: bool,
}

impl Message {
    /// A request of type `kind` (RTM_*) with its fixed header. An acknowledgement is asked for always.
    #[inline(never)]
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut message = Message { bytes: [0; ROOM], length: 0, full: false };
        let flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        // Length and sequence come last, see `seal`; the port is the kernel's business.
        message.push(&[0; 4]);
        message.push(&kind.to_ne_bytes());
        message.push(&flags.to_ne_bytes());
        message.push(&[0; 8]);
        message.push(header);
        message
    }

    /// A request about a link; index 0 is none yet.
    pub fn link(kind: u16, flags: u16, family: u8, index: u32) -> Self {
        Message::new(kind, flags, &link_header(family, index, false))
    }

    /// A request that changes a link and brings it up.
    pub fn link_up(index: u32) -> Self {
        Message::new(libc::RTM_NEWLINK, 0, &link_header(0, index, true))
    }

    /// A request about an address of a link. `prefix` 0 and index 0: any.
    pub fn address(kind: u16, flags: u16, family: u8, prefix: u8, index: u32) -> Self {
        let [a, b, c, d] = index.to_ne_bytes();
        Message::new(kind, flags, &[family, prefix, 0, 0, a, b, c, d])
    }

    /// A request about a unicast route of the main table, as an administrator makes it. `scope` is RT_SCOPE_*.
    pub fn route(kind: u16, flags: u16, family: u8, prefix: u8, scope: u8) -> Self {
        let header =
            [family, prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
        Message::new(kind, flags, &header)
    }

    /// A request about a neighbour that a link answers for in its place.
    pub fn proxy(kind: u16, flags: u16, family: u8, index: u32) -> Self {
        let [a, b, c, d] = index.to_ne_bytes();
        Message::new(kind, flags, &[family, 0, 0, 0, a, b, c, d, 0, 0, NTF_PROXY, libc::RTN_UNICAST])
    }

    /// Appends raw bytes.
    pub fn push(&mut self, more: &[u8]) {
        let end = self.length.saturating_add(more.len());
        match self.bytes.get_mut(self.length..end) {
            Some(room) => {
                room.copy_from_slice(more);
                self.length = end;
            }
            None => self.full = true,
        }
    }

    /// Appends an attribute, padded to four bytes.
    #[inline(never)]
    pub fn attribute(&mut self, kind: u16, payload: &[u8]) {
        self.push(&((payload.len() + 4) as u16).to_ne_bytes());
        self.push(&kind.to_ne_bytes());
        self.push(payload);
        let padding = self.length.next_multiple_of(4) - self.length;
        self.push([0; 3].get(..padding).unwrap_or(&[]));
    }

    /// Appends a text with its NUL.
    pub fn text(&mut self, kind: u16, text: &CStr) {
        self.attribute(kind, text.to_bytes_with_nul());
    }

    /// Appends a number.
    pub fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_ne_bytes());
    }

    /// Begins an attribute that holds others; `close` takes what this returns.
    pub fn open(&mut self, kind: u16) -> usize {
        let at = self.length;
        self.attribute(kind, &[]);
        at
    }

    /// Ends what `open` began.
    pub fn close(&mut self, at: usize) {
        let length = ((self.length.saturating_sub(at)) as u16).to_ne_bytes();
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&length);
        }
    }

    /// The whole request under number `sequence`.
    ///
    /// # Errors
    /// EMSGSIZE if it has not fitted.
    pub fn seal(&mut self, sequence: u32) -> nix::Result<&[u8]> {
        for (at, number) in [(0, self.length as u32), (8, sequence)] {
            if let Some(place) = self.bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
        }
        match self.bytes.get(..self.length) {
            Some(bytes) if !self.full => Ok(bytes),
            _ => Err(Errno::EMSGSIZE),
        }
    }
}

const NTF_PROXY: u8 = 0x08;

/// `struct ifinfomsg`: family, device type, index, flags, which of them to change.
pub fn link_header(family: u8, index: u32, up: bool) -> [u8; 16] {
    let mut header = [0u8; 16];
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    for (at, number) in [(4, index), (8, flags), (12, flags)] {
        if let Some(place) = header.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
    }
    if let Some(first) = header.first_mut() {
        *first = family;
    }
    header
}

/// The attributes behind the fixed header of an answer.
pub struct Attributes<'b>(pub &'b [u8]);

impl<'b> Iterator for Attributes<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?);
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    }
}

/// The number at `at` of an answer.
pub fn number_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(body.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_lengths_and_padding_are_the_kernels() {
        let mut message = Message::link(libc::RTM_NEWLINK, NEW, 0, 7);
        let outer = message.open(18);
        message.attribute(1, b"veth");
        message.attribute(2, b"x");
        message.close(outer);
        let bytes = message.seal(9).unwrap().to_vec();
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        assert_eq!(&bytes[8..12], &9u32.to_ne_bytes());
        assert_eq!(&bytes[20..24], &7u32.to_ne_bytes());
        let all: Vec<_> = Attributes(&bytes[32..]).collect();
        assert_eq!((all.len(), all[0].0), (1, 18));
        let inner: Vec<_> = Attributes(all[0].1).collect();
        assert_eq!(inner, [(1, &b"veth"[..]), (2, &b"x"[..])]);
        assert_eq!(bytes.len(), 16 + 16 + 4 + 8 + 8);
    }

    #[test]
    fn message_too_long_is_refused_and_no_byte_is_lost_in_silence() {
        let mut message = Message::link(libc::RTM_NEWLINK, 0, 0, 1);
        for _ in 0..100 {
            message.number(1, 2);
        }
        assert_eq!(message.seal(1), Err(Errno::EMSGSIZE));
    }

    #[test]
    fn attributes_cut_short_end() {
        for bytes in [&[][..], &[4], &[4, 0, 1], &[9, 0, 1, 0, 5], &[3, 0, 1, 0], &[0, 0, 1, 0]] {
            assert_eq!(Attributes(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(Attributes(&[5, 0, 1, 0, 9]).collect::<Vec<_>>(), [(1, &[9][..])]);
    }
}
