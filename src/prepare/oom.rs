//! `monopod.oom.score`: how willingly the kernel kills the supervisor when memory is short (proc(5), oom_score_adj). Whatever it
//! starts gets back the score that it had itself.

use crate::cgroup::limit;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::text::{Line, number};
use core::fmt::Write;
use nix::errno::Errno;

const FILE: &core::ffi::CStr = c"/proc/self/oom_score_adj";

/// Sets our score. The one that we had, if it was changed.
pub fn set(config: &Config<'_>) -> Result<Option<i32>> {
    let Some(score) = config.own.oom_score else { return Ok(None) };
    let set = || {
        let value = limit::read(FILE)?;
        let (sign, digits) = value.strip_prefix(b"-").map_or((1, &value[..]), |digits| (-1, digits));
        let before = number(digits).and_then(|score| i32::try_from(score).ok()).ok_or(Errno::EINVAL)?;
        put(score.value)?;
        Ok(Some(sign * before))
    };
    set().map_err(|errno| {
        let place = config.place(score.at);
        Error::os("oom score", errno, format_args!("{place}: monopod.oom.score = {}", score.value))
    })
}

/// In a new process, where the host's /proc is still there: the score of before.
pub fn restore(before: Option<i32>) -> nix::Result<()> {
    before.map_or(Ok(()), put)
}

fn put(score: i32) -> nix::Result<()> {
    let mut text = Line::<12>::new();
    let _ = write!(text, "{score}");
    limit::write_file(FILE, text.bytes())
}
