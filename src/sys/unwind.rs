//! The symbols that a prebuilt std asks of an unwinder, answered "there is nothing to unwind".
//!
//! A panic aborts in every build of this program, so nothing ever unwinds; std wants these only for the backtrace that its
//! panic message may carry. With them answered here, the linker can leave out libunwind and the whole machinery that turns
//! addresses into names: 200 KB of a 500 KB program. A panic still prints its message and its place.
//!
//! `cfg(unwind_stub)` is set by the Makefile's builds, which also give the linker an empty libunwind; a plain `cargo build`
//! or `cargo test` uses the real one.

#[cfg(unwind_stub)]
mod stub {
    use core::ffi::{c_int, c_void};

    /// "End of stack": there is nothing to unwind.
    const END_OF_STACK: c_int = 5;
    /// "Failed": no register can be read.
    #[cfg(target_arch = "arm")]
    const FAILED: c_int = 1;

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
        END_OF_STACK
    }

    #[cfg(target_arch = "arm")]
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

    /// Asked only for a frame that `_Unwind_Backtrace` found; it finds none. All of the following are like that.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIP(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIPInfo(_context: *mut c_void, _before: *mut c_int) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetCFA(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetLanguageSpecificData(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetRegionStart(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_SetGR(_context: *mut c_void, _register: c_int, _value: usize) {}

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_SetIP(_context: *mut c_void, _value: usize) {}

    /// Called at the end of a landing pad. There is no way into one.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
        crate::sys::process::exit_now(255)
    }
}
