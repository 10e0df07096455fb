//! `lxc-config`: the values of the system's lxc.conf. Only under LXC's name: `monopod config` prints a container's config.

use super::{Call, FAILED, Outcome, print};
use crate::config::{default_lxcpath, lxc_conf};
use crate::text::shown;

/// The keys in LXC's order, and what holds where the file says nothing.
const KEYS: [(&str, Option<&str>); 7] = [
    ("lxc.default_config", Some("/etc/lxc/default.conf")),
    ("lxc.lxcpath", Some("/var/lib/lxc")),
    ("lxc.bdev.lvm.vg", Some("lxc")),
    ("lxc.bdev.lvm.thin_pool", Some("lxc")),
    ("lxc.bdev.zfs.root", Some("lxc")),
    ("lxc.cgroup.use", None),
    ("lxc.cgroup.pattern", None),
];

/// Runs the tool: `-l`, or a key.
pub fn run(call: &Call<'_>) -> Outcome {
    let program = shown(call.program);
    let Some(word) = call.args.first().filter(|word| !matches!(word.to_bytes(), b"-h" | b"--help")) else {
        let text =
            format!("Usage: {program} -l: list the keys there are\n       {program} KEY: print the value of a key\n");
        return Ok(print(&text));
    };
    if word.to_bytes() == b"-l" {
        return Ok(KEYS.iter().map(|(key, _)| print(&format!("{key}\n"))).fold(0, i32::max));
    }
    let Some((key, default)) = KEYS.iter().find(|(key, _)| key.as_bytes() == word.to_bytes()) else {
        // LXC's words, and where it puts them.
        print(&format!("Unknown configuration item: {}\n", shown(word)));
        return Err(FAILED);
    };
    let value = match *key {
        "lxc.lxcpath" => String::from_utf8(default_lxcpath()).ok(),
        key => lxc_conf(key),
    };
    Ok(match value.as_deref().or(*default) {
        Some(value) => print(&format!("{value}\n")),
        None => print(&format!("{key} is not set.\n")),
    })
}
