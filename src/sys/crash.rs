//! The last resort of a process that must not end: on a fatal signal it executes itself anew.
//!
//! The kernel panics when process 1 ends. A handler cannot mend what is broken, but exec makes a new program of the same
//! process, with the same children.

use super::check;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

/// What ends a program by its own fault: abort() and the instructions of a panic among them.
const FATAL: [c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];

/// More than a signal frame on any machine: a program that overflowed its stack has no other.
const STACK: usize = 32 * 1024;

struct Stack(core::cell::UnsafeCell<[u8; STACK]>);
// SAFETY: only the kernel writes to it, when it runs the handler on it; nobody in the program touches it.
unsafe impl Sync for Stack {}

#[unsafe(link_section = ".bss.large")]
static SIGNAL_STACK: Stack = Stack(core::cell::UnsafeCell::new([0; STACK]));
static PROGRAM: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());
/// How often it has happened: one letter, 'a' the first time, and the NUL behind it.
static COUNT: [AtomicU8; 2] = [AtomicU8::new(b'a'), AtomicU8::new(0)];
static ARMED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The word of the command line that tells the new program what it is; a letter that counts follows as the next word.
pub const AGAIN: &CStr = c"--again";

/// From here on a fatal signal executes `program` with the words `init --again LETTER` and our environment. `times`: how
/// often that was so before.
pub fn execute_anew(program: &'static CStr, times: u8) -> nix::Result<()> {
    PROGRAM.store(program.as_ptr().cast_mut(), Ordering::SeqCst);
    let [letter, _nul] = &COUNT;
    letter.store(b'a' + times.min(25), Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    let stack = libc::stack_t { ss_sp: SIGNAL_STACK.0.get().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is static and used for nothing else.
    check(unsafe { libc::sigaltstack(&stack, ptr::null_mut()) }.into())?;
    for signal in FATAL {
        // SAFETY: all zeroes is a valid sigaction: default action, no flags, empty mask.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        let handler: extern "C" fn(c_int) = anew;
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: the handler only loads atomics and makes system calls, which a handler may do.
        check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }.into())?;
    }
    Ok(())
}

/// How often it happened, from the letter on the command line.
pub fn times(letter: Option<&u8>) -> u8 {
    letter.map_or(1, |letter| letter.saturating_sub(b'a').saturating_add(1))
}

extern "C" fn anew(_signal: c_int) {
    if ARMED.swap(false, Ordering::SeqCst) {
        let program = PROGRAM.load(Ordering::SeqCst);
        let count: *const c_char = COUNT.as_ptr().cast();
        let argv = [c"init".as_ptr(), AGAIN.as_ptr(), count, ptr::null()];
        // SAFETY: `program` is a static C string, `argv` ends with a null, COUNT is two bytes that end with a NUL, and
        // nothing in this one-threaded program changes the environment. Returns only if the kernel refuses.
        unsafe { libc::execve(program, argv.as_ptr(), environ) };
    }
    loop {
        // SAFETY: no memory is passed. To return would be to fault again, to end would be a kernel panic.
        unsafe { libc::pause() };
    }
}
