//! The words of a start: init's command line, its environment, and the environment of hooks, kept for the whole run.

use crate::android;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits;
use crate::prepare::notify;
use crate::text::{Arena, Full, Line, shown};
use core::ffi::CStr;
use core::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// Words of init's command line.
pub type Words<'a> = heapless::Vec<&'a CStr, { limits::ARGS }>;

/// The same words, in memory that lives as long as we do.
#[inline(never)] // its frame would live as long as the container
pub fn init_command<'t>(config: &Config<'t>, command: &[&CStr], arena: &Arena<'t>) -> Result<Vec<&'t CStr>> {
    init_words(config, command)?.iter().map(|word| text(arena.copy(word.to_bytes()))).collect()
}

/// The command line's command, else the config's, else /sbin/init.
pub fn init_words<'w>(config: &'w Config<'_>, command: &[&'w CStr]) -> Result<Words<'w>> {
    let mut words = Words::new();
    let chosen: &[&CStr] = if command.is_empty() { &config.init.cmd } else { command };
    for word in chosen {
        if words.push(word).is_err() {
            return Err(Error::new("start", format_args!("init's command has more than {} words", limits::ARGS)));
        }
    }
    if words.is_empty() {
        let android = android::init::is_ours(config, command);
        let _ = words.push(if android { c"/init" } else { c"/sbin/init" });
    }
    if config.rootfs.path.is_none() && words.first() == Some(&c"/sbin/init") {
        return Err(Error::new(
            "start",
            format_args!(
                "{} has no rootfs (no config at {}/{}/config?): running /sbin/init on the host's own files may crash it",
                shown(config.name),
                shown(config.lxcpath),
                shown(config.name)
            ),
        ));
    }
    Ok(words)
}

/// `container=lxc`, the ttys for systemd's getty generator, and what the config adds.
#[inline(never)] // its frame would live as long as the container
pub fn init_environment<'t>(config: &Config<'t>, arena: &Arena<'t>) -> Result<Vec<&'t CStr>> {
    let mut words = vec![c"container=lxc"];
    if config.tty_max > 0 {
        let mut ttys = Line::<1024>::new();
        let _ = ttys.write_str("container_ttys=");
        for number in 1..=config.tty_max {
            let blank = if number > 1 { " " } else { "" };
            let _ = match config.tty_dir.filter(|directory| !directory.is_empty()) {
                Some(directory) => write!(ttys, "{blank}{}/tty{number}", shown(directory)),
                None => write!(ttys, "{blank}tty{number}"),
            };
        }
        words.push(text(arena.copy(ttys.bytes()))?);
    }
    words.extend(config.environment.iter().chain(&config.environment_runtime));
    Ok(words)
}

/// Our own environment, for hooks, which inherit it as they do from lxc-start.
#[inline(never)] // its frame would live as long as the container
pub fn caller_environment<'t>(arena: &Arena<'t>) -> Result<Vec<&'t CStr>> {
    let mut words = Vec::new();
    for (name, value) in std::env::vars_os() {
        if notify::OURS.contains(&name.as_bytes()) {
            continue;
        }
        words.push(text(arena.join(&[name.as_bytes(), b"=", value.as_bytes()]))?);
    }
    let most = limits::CALLER_ENVIRONMENT;
    if words.len() > most {
        return Err(Error::new("start", format_args!("our own environment has more than {most} words")));
    }
    Ok(words)
}

/// What the arena gave, or that it is full.
pub fn text<T>(result: core::result::Result<T, Full>) -> Result<T> {
    result.map_err(|Full| {
        Error::new("start", format_args!("config, argv and environment need more than {} bytes", limits::TEXT_BYTES))
    })
}
