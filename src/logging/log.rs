//! What the program logs with: the levels and the words of the `log` crate, whose macros ask for the level and put five values
//! on the stack wherever they stand: 50 bytes, a hundred times. Here that is done once.

use core::fmt;

/// Where a line comes from.
pub struct Place {
    /// `file!()`
    pub file: &'static str,
    /// `line!()`
    pub line: u32,
}

/// Logs a line, if anybody wants to read that level.
#[inline(never)]
pub fn say(level: ::log::Level, place: &'static Place, text: fmt::Arguments<'_>) {
    if level <= ::log::max_level() {
        super::write(level, place, text);
    }
}

macro_rules! say_at {
    ($level:ident, $($text:tt)+) => {
        $crate::logging::log::say(
            ::log::Level::$level,
            &$crate::logging::log::Place { file: file!(), line: line!() },
            format_args!($($text)+),
        )
    };
}
macro_rules! say_error { ($($text:tt)+) => { $crate::logging::log::say_at!(Error, $($text)+) } }
macro_rules! say_warn { ($($text:tt)+) => { $crate::logging::log::say_at!(Warn, $($text)+) } }
macro_rules! say_info { ($($text:tt)+) => { $crate::logging::log::say_at!(Info, $($text)+) } }
macro_rules! say_debug { ($($text:tt)+) => { $crate::logging::log::say_at!(Debug, $($text)+) } }

pub(crate) use say_at;
pub(crate) use say_debug as debug;
pub(crate) use say_error as error;
pub(crate) use say_info as info;
pub(crate) use say_warn as warn;
