//! The same work as an OCI bundle, for crun and runc: namespaces, /dev, proc, sysfs and devpts as the floor program makes them.

use crate::life::Mode;
use crate::place::Place;
use std::fs;
use std::path::{Path, PathBuf};

/// The bundle of an init that does `mode`; made if there is none yet.
pub fn bundle(place: &Place, mode: Mode) -> PathBuf {
    let folder = place.file(&format!("bundle-{}", mode.words().join("-")));
    if !folder.exists()
        && let Err(e) =
            fs::create_dir(&folder).and_then(|()| fs::write(folder.join("config.json"), config(&place.rootfs(), mode)))
    {
        eprintln!("bench: {}: {e}", folder.display());
    }
    folder
}

fn mount(target: &str, kind: &str, options: &str) -> String {
    let options: Vec<String> = options.split(' ').map(|option| format!("\"{option}\"")).collect();
    format!(r#"{{"destination":"{target}","type":"{kind}","source":"{kind}","options":[{}]}}"#, options.join(","))
}

fn config(rootfs: &Path, mode: Mode) -> String {
    let words: Vec<String> =
        std::iter::once("/init".to_owned()).chain(mode.words()).map(|w| format!("\"{w}\"")).collect();
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| format!(r#"{{"type":"{kind}"}}"#)).join(",");
    let mounts = [
        mount("/proc", "proc", "nosuid nodev noexec"),
        mount("/dev", "tmpfs", "nosuid mode=755 size=500k"),
        mount("/dev/pts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        mount("/sys", "sysfs", "nosuid nodev noexec ro"),
    ];
    let (words, mounts, rootfs) = (words.join(","), mounts.join(","), rootfs.display());
    format!(
        r#"{{"ociVersion":"1.0.0","hostname":"bench","root":{{"path":"{rootfs}","readonly":false}},"mounts":[{mounts}],
"process":{{"terminal":false,"user":{{"uid":0,"gid":0}},"args":[{words}],"env":["PATH=/"],"cwd":"/","noNewPrivileges":false}},
"linux":{{"namespaces":[{namespaces}]}}}}"#
    )
}
