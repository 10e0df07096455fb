//! The property area as bionic lays it out: a trie in a file that every process maps, with futexes for its serials.
//!
//! Up to Android 6 it is one file, later a directory with a file for each SELinux context, one that only has the serial of
//! the whole, and from 9 on one that says which property is in which context.

use super::Options;
use crate::say;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};

const PLACE: &str = "/dev/__properties__";
const SIZE: usize = 128 << 10;
/// The header: bytes used, serial, magic, version, 28 words reserved.
const HEADER: usize = 128;
const MAGIC: u32 = 0x504f_5250;
const VERSION: u32 = 0xfc6e_d0ab;
/// A node of the trie without its name: length of the name, property, left, right, children.
const NODE: usize = 20;
/// A property without its name: serial, value.
const INFO: usize = 96;
const VALUE: usize = 92;
/// Contexts, and the first part of the names that are in each; the first has the others.
const CONTEXTS: [(&str, &str); 3] =
    [("u:object_r:default_prop:s0", ""), ("u:object_r:system_prop:s0", "sys"), ("u:object_r:init_svc_prop:s0", "init")];

/// All properties.
pub struct Properties {
    areas: Vec<Area>,
    /// In the new layout: the file that only has the serial.
    serial: Option<Area>,
    values: BTreeMap<String, String>,
}

impl Properties {
    /// Makes the files. None of them may be there: what an earlier life left is an error.
    pub fn create(options: &Options) -> io::Result<Properties> {
        let values = BTreeMap::new();
        if options.sdk < 24 {
            return Ok(Properties { areas: vec![Area::create(Path::new(PLACE), options.sdk)?], serial: None, values });
        }
        let _ = fs::DirBuilder::new().mode(0o711).create(PLACE);
        if options.sdk >= 28 {
            fs::write(format!("{PLACE}/property_info"), property_info())?;
        }
        let create = |name: &str| Area::create(&Path::new(PLACE).join(name), options.sdk);
        let areas = CONTEXTS.iter().map(|(name, _)| create(name)).collect::<io::Result<_>>()?;
        Ok(Properties { areas, serial: Some(create("properties_serial")?), values })
    }

    /// Adds or changes one. What begins with `ro.` changes only once.
    pub fn set(&mut self, name: &str, value: &str) {
        if name.starts_with("ro.") && self.values.contains_key(name) {
            return say(&format!("prop {name}: read-only"));
        }
        say(&format!("prop {name}={value}"));
        self.values.insert(name.into(), value.into());
        let head = name.split('.').next().unwrap_or_default();
        let context = CONTEXTS.iter().position(|(_, prefix)| *prefix == head).unwrap_or(0);
        let context = if self.areas.len() > 1 { context } else { 0 };
        self.areas[context].set(name, value);
        self.serial.as_ref().unwrap_or(&self.areas[0]).changed();
    }

    /// The value of one, empty where it is not.
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One mapped file. Offsets in it count from the end of the header.
struct Area {
    start: *mut u8,
}

impl Area {
    fn create(path: &Path, sdk: u32) -> io::Result<Area> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o444).open(path)?;
        file.set_len(SIZE as u64)?;
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping, which stays to the end of the program.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, shared, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let area = Area { start: start.cast() };
        // The root node; from Android 12 on room for a value that is being changed follows it.
        area.at(0).store(NODE as u32 + if sdk >= 31 { VALUE as u32 } else { 0 }, Release);
        area.at(8).store(MAGIC, Release);
        area.at(12).store(VERSION, Release);
        Ok(area)
    }

    /// A word of the file.
    fn at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= SIZE && offset.is_multiple_of(4));
        // SAFETY: in the mapping and aligned, by the line above; other processes change it by atomic stores at most.
        unsafe { &*self.start.add(offset).cast::<AtomicU32>() }
    }

    /// A word of the data.
    fn word(&self, offset: usize) -> &AtomicU32 {
        self.at(HEADER + offset)
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        let offset = HEADER + offset;
        assert!(offset + bytes.len() <= SIZE);
        // SAFETY: in the mapping, by the line above.
        unsafe { self.start.add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    fn name(&self, offset: usize, length: usize) -> &[u8] {
        assert!(HEADER + offset + length <= SIZE);
        // SAFETY: in the mapping, by the line above; names never change.
        unsafe { std::slice::from_raw_parts(self.start.add(HEADER + offset), length) }
    }

    fn allocate(&self, size: usize) -> usize {
        self.at(0).fetch_add(size.next_multiple_of(4) as u32, Release) as usize
    }

    /// The offset in `link`, or that of what is made for it now.
    fn follow(&self, link: usize, make: impl FnOnce() -> usize) -> usize {
        match self.word(link).load(Acquire) {
            0 => {
                let made = make();
                self.word(link).store(made as u32, Release);
                made
            }
            offset => offset as usize,
        }
    }

    fn new_node(&self, name: &[u8]) -> usize {
        let node = self.allocate(NODE + name.len() + 1);
        self.word(node).store(name.len() as u32, Release);
        self.put(node + NODE, name);
        node
    }

    /// The child of a node by its part of the name. Siblings are a binary tree, shorter names first.
    fn child(&self, parent: usize, name: &[u8]) -> usize {
        let mut node = self.follow(parent + 16, || self.new_node(name));
        loop {
            let length = self.word(node).load(Acquire) as usize;
            let there = self.name(node + NODE, length);
            let side = match name.len().cmp(&length).then_with(|| name.cmp(there)) {
                std::cmp::Ordering::Less => 8,
                std::cmp::Ordering::Greater => 12,
                std::cmp::Ordering::Equal => return node,
            };
            node = self.follow(node + side, || self.new_node(name));
        }
    }

    fn set(&self, name: &str, value: &str) {
        let node = name.split('.').fold(0, |node, part| self.child(node, part.as_bytes()));
        let mut value = value.as_bytes().to_vec();
        value.truncate(VALUE - 1);
        let length = (value.len() as u32) << 24;
        value.resize(VALUE, 0);
        let mut is_new = false;
        let info = self.follow(node + 4, || {
            is_new = true;
            let info = self.allocate(INFO + name.len() + 1);
            self.put(info + 4, &value);
            self.put(info + INFO, name.as_bytes());
            self.word(info).store(length, Release);
            info
        });
        if !is_new {
            // An odd serial tells readers that the value is being written.
            let serial = self.word(info);
            let dirty = serial.fetch_or(1, Release) | 1;
            self.put(info + 4, &value);
            serial.store(length | (dirty + 1) & 0xff_ffff, Release);
            wake(serial);
        }
    }

    /// One more change of the whole.
    fn changed(&self) {
        self.at(4).fetch_add(1, Release);
        wake(self.at(4));
    }
}

/// Wakes whoever sleeps until this word changes, in any process.
fn wake(word: &AtomicU32) {
    // SAFETY: the word lives as long as the program.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
}

/// `property_info`: a trie by which bionic finds the file of a property. Its words: two versions, size, contexts, types, root.
fn property_info() -> Vec<u8> {
    let mut out = vec![0; 24];
    let word = |out: &mut Vec<u8>, value: usize| {
        out.extend((value as u32).to_le_bytes());
        out.len() - 4
    };
    let words = |out: &mut Vec<u8>, values: &[usize]| {
        for value in values {
            word(out, *value);
        }
    };
    let texts = |out: &mut Vec<u8>, texts: &[&str]| {
        let start = word(out, texts.len());
        let table = out.len();
        out.resize(table + 4 * texts.len(), 0);
        for (i, text) in texts.iter().enumerate() {
            let at = out.len() as u32;
            out[table + 4 * i..][..4].copy_from_slice(&at.to_le_bytes());
            out.extend(text.bytes().chain([0]));
            out.resize(out.len().next_multiple_of(4), 0);
        }
        start
    };
    let contexts = texts(&mut out, &CONTEXTS.map(|(context, _)| context));
    let types = texts(&mut out, &["string"]);
    // A node: its entry (name, length of it, context, type), then counts and places of children, prefixes, exact names.
    let node = |out: &mut Vec<u8>, name: &str, context: usize, children: &[usize]| {
        let text = out.len();
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        let entry = word(out, text);
        words(out, &[name.len(), context, 0]);
        let list = out.len();
        words(out, children);
        let node = word(out, entry);
        words(out, &[children.len(), list, 0, 0, 0, 0]);
        node
    };
    let mut children = Vec::new();
    let mut named: Vec<_> = CONTEXTS.iter().enumerate().skip(1).map(|(i, (_, head))| (*head, i)).collect();
    named.sort_unstable();
    for (head, context) in named {
        children.push(node(&mut out, head, context, &[]));
    }
    let root = node(&mut out, "root", 0, &children);
    let header = [1, 1, out.len(), contexts, types, root];
    for (i, value) in header.into_iter().enumerate() {
        out[4 * i..][..4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    out
}
