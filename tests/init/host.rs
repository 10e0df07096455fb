//! What an emulated host needs of this program: it has no other tool for it.

use nix::errno::Errno;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

/// Sets a property over Android's property socket, by the message of Android 8 and later, else by the old one.
pub fn set_property(socket: &str, name: &str, value: &str) {
    let mut message = 0x0002_0001_u32.to_ne_bytes().to_vec();
    for text in [name, value] {
        message.extend((text.len() as u32).to_ne_bytes());
        message.extend(text.as_bytes());
    }
    let mut old = [1u32.to_ne_bytes().as_slice(), &[0; 32 + 92]].concat();
    old[4..][..name.len()].copy_from_slice(name.as_bytes());
    old[36..][..value.len()].copy_from_slice(value.as_bytes());
    let send = |message: &[u8]| {
        let mut answer = [1; 4];
        let mut socket = UnixStream::connect(socket).unwrap();
        socket.write_all(message).is_ok() && socket.read_exact(&mut answer).is_ok()
    };
    if !send(&message) {
        send(&old);
    }
}

/// Executes a command under a kernel that has seccomp filters, but none that a supervisor can listen to: one before 5.0.
pub fn without_listeners(command: &[&str]) {
    let load = |offset: u32| filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let answer = |verdict: u32| filter(libc::BPF_RET | libc::BPF_K, 0, 0, verdict);
    let mut program = [
        // The call's number; its second argument, the flags.
        load(0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, libc::SYS_seccomp as u32),
        load(24),
        filter(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32),
        answer(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives to the end of this function.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(set).unwrap();
    panic!("{}", std::process::Command::new(command[0]).args(&command[1..]).exec());
}

fn filter(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
