//! What an image file is that no kernel can mount, by its first bytes. Pure.

/// Bytes that must be looked at: Android's table of logical partitions begins behind the first 4096.
pub const HEAD: usize = 4100;
/// No filesystem is smaller.
pub const LEAST: u64 = 4096;

/// Where which bytes stand in what is no filesystem, and what to do about it.
const FORMATS: [(usize, &[u8], &str); 13] = [
    (0, &[0x3a, 0xff, 0x26, 0xed], "an Android sparse image: convert it with simg2img"),
    (4096, b"gDla", "an Android super image: take its partitions out with lpunpack"),
    (0, b"ANDROID!", "an Android boot image, no filesystem"),
    (0, b"VNDRBOOT", "an Android boot image, no filesystem"),
    (0, b"AVB0", "a vbmeta image, no filesystem"),
    (512, b"EFI PART", "a whole disk: take a partition out of it"),
    (0, &[0x1f, 0x8b], "compressed: unpack it with gunzip"),
    (0, &[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed: unpack it with unxz"),
    (0, &[0x28, 0xb5, 0x2f, 0xfd], "compressed: unpack it with unzstd"),
    (0, &[0x04, 0x22, 0x4d, 0x18], "compressed: unpack it with unlz4"),
    (0, &[0x02, 0x21, 0x4c, 0x18], "compressed: unpack it with unlz4"),
    (0, b"BZh", "compressed: unpack it with bunzip2"),
    (0, b"PK\x03\x04", "a zip file: unpack it"),
];

/// What is wrong with an image of `size` bytes that begins with `head`; None: it may be a filesystem.
pub fn fault(head: &[u8], size: u64) -> Option<&'static str> {
    let found = FORMATS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    match found {
        Some((.., what)) => Some(what),
        None if size == 0 => Some("empty"),
        None if size < LEAST => Some("too short for a filesystem"),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(at: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[at..at + magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn fault_each_format_is_named_wherever_it_stands() {
        for (at, magic, what) in FORMATS {
            assert_eq!(fault(&with(at, magic), 1 << 20), Some(what));
        }
        assert_eq!(fault(&[0x3a, 0xff, 0x26, 0xed], 4), Some(FORMATS[0].2), "a short one, too");
    }

    #[test]
    fn fault_filesystems_have_none_unless_cut_short() {
        for (at, magic) in [(1080, &[0x53, 0xef][..]), (1024, &[0xe2, 0xe1, 0xf5, 0xe0]), (0, b"hsqs"), (4, b"gDla")] {
            assert_eq!(fault(&with(at, magic), 1 << 20), None);
        }
        assert_eq!(fault(b"", 0), Some("empty"));
        assert_eq!(fault(b"hsqs", 4095), Some("too short for a filesystem"));
    }
}
