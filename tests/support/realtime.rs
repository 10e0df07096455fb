//! The machine's budget of real-time CPU in cgroup v1: there is one, and who gives it to a group leaves nothing for others.

use std::fs;
use std::sync::{Mutex, MutexGuard};

/// What tests share, whose containers are groups below it.
const SHARED: &str = "/sys/fs/cgroup/cpu/lxc/cpu.rt_runtime_us";

static ONE: Mutex<()> = Mutex::new(());

/// The budget, taken. What the shared group had of it is given back in the end.
pub struct Budget {
    before: String,
    _turn: MutexGuard<'static, ()>,
}

impl Budget {
    /// Waits for it.
    pub fn take() -> Budget {
        let turn = ONE.lock().unwrap_or_else(|failed| failed.into_inner());
        Budget { before: fs::read_to_string(SHARED).unwrap_or_else(|_| "0".into()), _turn: turn }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        // Where there is no such group, or no such file, nothing was given.
        let _ = fs::write(SHARED, &self.before);
    }
}
