//! Two symbols that std's panic printer asks of an unwinder where none is linked (std built for size, armv7 fallback).
//!
//! `cfg(unwind_stub)` is set by those builds only. A panic then still prints its message and place; the backtrace is empty.

#[cfg(unwind_stub)]
mod stub {
    use core::ffi::{c_int, c_void};

    /// "End of stack": there is nothing to unwind.
    const END_OF_STACK: c_int = 5;
    /// "Failed": no register can be read.
    const FAILED: c_int = 1;

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
        END_OF_STACK
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_VRS_Get(
        _context: *mut c_void,
        _class: c_int,
        _register: u32,
        _representation: c_int,
        _value: *mut c_void,
    ) -> c_int {
        FAILED
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIP(_context: *mut c_void) -> usize {
        0
    }
}
