//! The machine's budget of real-time CPU in cgroup v1: there is one, and who gives it to a group leaves nothing for others.

use super::wait_for;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup/cpu";

static ONE: Mutex<()> = Mutex::new(());

/// The budget, taken. What the group that all containers are below had of it is given back in the end.
pub struct Budget {
    before: String,
    _turn: MutexGuard<'static, ()>,
}

impl Budget {
    /// Waits for it, for a while: the kernel takes it back from a removed group when it likes to.
    pub fn take() -> Budget {
        let turn = ONE.lock().unwrap_or_else(|failed| failed.into_inner());
        let (whole, shared) = (of(ROOT), format!("{ROOT}/lxc"));
        // What an earlier run left it with: nobody lives there.
        if fs::read_dir(&shared).is_ok_and(|mut all| all.all(|each| each.is_ok_and(|each| each.path().is_file()))) {
            give(&shared, "0");
        }
        let group = format!("{ROOT}/mp-budget-{}", std::process::id());
        if Path::new(&format!("{ROOT}/cpu.rt_runtime_us")).exists() && fs::create_dir(&group).is_ok() {
            wait_for(Duration::from_secs(20), || give(&group, &whole));
            give(&group, "0");
            let _ = fs::remove_dir(&group);
        }
        Budget { before: of(&shared), _turn: turn }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        give(&format!("{ROOT}/lxc"), &self.before);
    }
}

fn of(group: &str) -> String {
    fs::read_to_string(format!("{group}/cpu.rt_runtime_us")).unwrap_or_else(|_| "0".into())
}

/// Whether it could be given.
fn give(group: &str, budget: &str) -> bool {
    fs::write(format!("{group}/cpu.rt_runtime_us"), budget).is_ok()
}
