//! `version`, `--version`

use super::{Call, Outcome, print};

/// The LXC whose tools ours stand in for. Waydroid takes the first digit of `lxc-info --version` for LXC's major version
/// and chooses its config by it, so under LXC's names the answer must be LXC's.
pub const LXC: &str = "5.0.2\n";

/// Prints the version that goes with the name the program was called by.
pub fn run(call: &Call<'_>) -> Outcome {
    Ok(answer(call))
}

/// The same, for `--version`.
pub fn answer(call: &Call<'_>) -> i32 {
    if call.stock { print(LXC) } else { own() }
}

/// Prints our own version.
pub fn own() -> i32 {
    print(concat!("monopod ", env!("CARGO_PKG_VERSION"), "\n"))
}
