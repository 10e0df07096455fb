//! Android's property socket, as its init has it, for one message.

use crate::{number, say};
use nix::sys::signal::{SigSet, Signal};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Blocks all signals, so that none is lost, and listens. Then it says `ready`, takes one message of either form, says
/// `property NAME=VALUE FORM`, and answers one of the new form with the number `reply`. `deaf`: nobody reads. `link`: the
/// socket is elsewhere, and a link leads there.
pub fn serve(reply: &str) {
    let mut all = SigSet::all();
    all.remove(Signal::SIGCHLD);
    all.thread_block().unwrap();
    fs::create_dir_all("/dev/socket").unwrap();
    let (place, real) = ("/dev/socket/property_service", "/real");
    let _ = fs::remove_file(place);
    let listener = UnixListener::bind(if reply == "link" { real } else { place }).unwrap();
    if matches!(reply, "link" | "deaf") {
        if reply == "link" {
            std::os::unix::fs::symlink(real, place).unwrap();
        }
        // It stays as long as we do.
        std::mem::forget(listener);
        return;
    }
    say("ready");
    let mut client = listener.accept().unwrap().0;
    match word(&mut client) {
        1 => say(&format!("property {}={} old", text(&mut client, 32), text(&mut client, 92))),
        0x0002_0001 => {
            let mut counted = || {
                let size = word(&mut client);
                text(&mut client, size as usize)
            };
            say(&format!("property {}={} new", counted(), counted()));
            client.write_all(&number::<u32>(reply).to_ne_bytes()).unwrap();
        }
        other => say(&format!("message {other:#x}")),
    }
}

fn word(client: &mut UnixStream) -> u32 {
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes)
}

fn text(client: &mut UnixStream, size: usize) -> String {
    let mut bytes = vec![0; size];
    client.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap().trim_end_matches('\0').to_owned()
}
