//! `ready VERB ...`: what Android's init does on the way to a booted system, and what a hostile one may do instead.

use crate::area::Area;
use crate::{counted, forever, number};
use nix::mount::{MsFlags, mount};
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const PROPERTIES: &str = "/dev/__properties__";
const SERIAL: &str = "/dev/__properties__/properties_serial";
/// bionic's size.
const BYTES: usize = 128 * 1024;

/// One step.
pub fn run(args: &[&str]) {
    match args {
        // Waits until the test has made a file.
        ["await", path] => {
            while !Path::new(path).exists() {
                sleep(Duration::from_millis(2));
            }
        }
        ["hang-times", count] => counted(number(count), forever),
        ["mount-dev"] => mount(Some("tmpfs"), "/dev", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755")).unwrap(),
        ["mkdir", path] => fs::create_dir_all(path).unwrap(),
        ["touch", path] => fs::write(path, "").unwrap(),
        ["rm", path] => fs::remove_dir_all(path).or_else(|_| fs::remove_file(path)).unwrap(),
        ["socket", path] => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        ["fifo", path] => nix::unistd::mkfifo(*path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        ["link", to, path] => std::os::unix::fs::symlink(to, path).unwrap(),

        // Until Android 6 one file, then a directory with the counting file made last.
        ["properties", "file"] => make(PROPERTIES),
        ["properties", "directory"] => {
            fs::create_dir_all(PROPERTIES).unwrap();
            fs::write(format!("{PROPERTIES}/property_info"), "contexts").unwrap();
            ["default", "other"].into_iter().for_each(|name| make(&context(name)));
            make(SERIAL);
        }
        ["setprop", name, value] => {
            // Which context has a property is nobody's business.
            let context = context(if name.len() % 2 == 0 { "default" } else { "other" });
            let (area, serial) = match fs::metadata(PROPERTIES).unwrap().is_dir() {
                true => (context.as_str(), SERIAL),
                false => (PROPERTIES, PROPERTIES),
            };
            Area::open(map(area)).set(name, value);
            wake(serial);
        }
        ["wake"] => wake(SERIAL),
        ["truncate", path, bytes] => OpenOptions::new().write(true).open(path).unwrap().set_len(number(bytes)).unwrap(),
        // Every link in the area leads back to the first node, or far out.
        ["spoil", path, link] => {
            let bytes = map(path);
            for at in (132..2048).step_by(4) {
                bytes[at..at + 4].copy_from_slice(&number::<u32>(link).to_ne_bytes());
            }
        }
        _ => {
            eprintln!("init: no such step: ready {args:?}");
            std::process::exit(99)
        }
    }
}

fn context(name: &str) -> String {
    format!("{PROPERTIES}/u:object_r:{name}_prop:s0")
}

/// As bionic does it: made, given its size, mapped and filled.
fn make(path: &str) {
    let file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    file.set_len(BYTES as u64).unwrap();
    Area::format(map(path));
}

/// The file's bytes, shared. They stay mapped.
fn map(path: &str) -> &'static mut [u8] {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a file of that size, which is never unmapped; this program has one thread, and whoever else
    // has the file only reads it.
    unsafe {
        let start = libc::mmap(std::ptr::null_mut(), BYTES, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(start, libc::MAP_FAILED);
        std::slice::from_raw_parts_mut(start.cast(), BYTES)
    }
}

/// Counts the change and wakes everybody who waits for one.
fn wake(path: &str) {
    let bytes = map(path);
    Area::open(bytes).count();
    let serial = map(path)[4..].as_ptr();
    // SAFETY: the word is mapped; the kernel only looks at its address.
    unsafe { libc::syscall(libc::SYS_futex, serial, libc::FUTEX_WAKE, i32::MAX) };
}
