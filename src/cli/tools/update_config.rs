//! `update-config`: rewrites a config in today's vocabulary, in place.

use super::prepass::Operands;
use super::{Call, Outcome, Word, parse, print, word};
use crate::config::update::update;
use crate::text::{Shown, shown};
use argh::{ArgsInfo, FromArgs};
use core::fmt;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Writes a container's config anew with today's key names; the old file stays beside it as FILE.backup. Included files
/// are left alone.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the file to rewrite instead of the container's config
    #[argh(option, short = 'c', arg_name = "FILE", from_str_fn(word))]
    config: Option<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    if call.stock && call.args.is_empty() {
        return Ok(print(&format!("Usage: {} [-h|--help] -c|--config FILE\n", shown(call.program))));
    }
    let mut line = parse::<Args>(call, Operands::Anywhere, " | -c FILE")?;
    let file = match line.args.config {
        Some(file) => file,
        None => {
            let target = line.only_target()?;
            target.rcfile.unwrap_or_else(|| target.config_file())
        }
    };
    let path = Path::new(OsStr::from_bytes(file.to_bytes()));
    match rewrite(path, call.stock) {
        Ok(_) if call.stock => Ok(0),
        Ok(0) => Ok(print(&format!("{}: nothing to change\n", shown(file)))),
        Ok(lines) => {
            Ok(print(&format!("{name}: {lines} lines changed, {name}.backup is the old file\n", name = shown(file))))
        }
        Err((what, error)) => Err(line.fail(format_args!("update-config: {what} {}: {}", shown(file), Reason(&error)))),
    }
}

/// An error of the system in the kernel's words, without its number.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(errno) => f.write_str(nix::errno::Errno::from_raw(errno).desc()),
            None => write!(f, "{}", Shown(self.0.to_string().as_bytes())),
        }
    }
}

/// Rewrites the file, if there is something to change; LXC's script makes its backup `always`. How many lines changed.
fn rewrite(path: &Path, always: bool) -> Result<usize, (&'static str, io::Error)> {
    // A link stays one: the file that it leads to is replaced.
    let real = real(path).map_err(|error| ("read", error))?;
    let before = fs::metadata(&real).map_err(|error| ("read", error))?;
    if !before.is_file() {
        return Err(("read", io::Error::from_raw_os_error(if before.is_dir() { libc::EISDIR } else { libc::EINVAL })));
    }
    let text = fs::read(&real).map_err(|error| ("read", error))?;
    let updated = update(&text);
    if updated.changed > 0 || always {
        replace(&beside(path, b".backup"), &text, &before).map_err(|error| ("write the backup of", error))?;
    }
    if updated.changed > 0 {
        replace(&real, &updated.text, &before).map_err(|error| ("write", error))?;
    }
    Ok(updated.changed)
}

/// The path without links, as the kernel tells it.
fn real(path: &Path) -> io::Result<PathBuf> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The path with something behind it.
fn beside(path: &Path, suffix: &[u8]) -> PathBuf {
    OsStr::from_bytes(&[path.as_os_str().as_bytes(), suffix].concat()).into()
}

/// Puts a file with this text at `path` in one step, with the mode and the owner of another: at any moment there is the old
/// one or the new one.
fn replace(path: &Path, text: &[u8], like: &fs::Metadata) -> io::Result<()> {
    let temporary = beside(path, format!(".{}", std::process::id()).as_bytes());
    // 0600 until it has its owner.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = fill(file, text, like).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(mut file: File, text: &[u8], like: &fs::Metadata) -> io::Result<()> {
    file.write_all(text)?;
    fchown(&file, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(like.permissions())?;
    file.sync_all()
}
