//! `console`: our terminal on a container's tty or console.

use crate::support::{Ended, Guest, Running, sandbox, wait_for, wait_until};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

/// A `console` on a terminal of the test's.
struct Session<'g> {
    terminal: File,
    before: LocalFlags,
    heard: Arc<Mutex<Vec<u8>>>,
    running: Running<'g>,
}

impl<'g> Session<'g> {
    fn new(guest: &'g Guest, words: &[&str]) -> Self {
        let (ours, theirs) = sandbox::pty(97, 41);
        let before = tcgetattr(&ours).unwrap().local_flags;
        let mut command = guest.tool("console", words);
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        sandbox::control_terminal(&mut command);
        let running = Running::spawn(guest, command);
        let terminal = File::from(ours);
        let (mut reader, heard) = (terminal.try_clone().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let ours = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                ours.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Session { terminal, before, heard, running }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    fn wait_heard(&self, what: &str) {
        wait_until(&format!("{what:?} in {:?}", self.text()), || self.text().contains(what));
    }

    fn type_keys(&mut self, keys: &[u8]) {
        self.terminal.write_all(keys).unwrap();
    }

    fn wait(self) -> Ended {
        self.running.wait()
    }
}

/// A container with a shell on tty1, which says what it hears.
fn with_tty(test: &str, label: &str) -> Option<Guest> {
    let guest = Guest::new(label).config("lxc.tty.max = 2\nlxc.mount.auto = proc:mixed");
    guest.busybox(test).then_some(guest)
}

/// Has a process inside answer on tty1: `size SIZE` first, then `heard LINE` for each line, until `bye`.
fn answer<'g>(guest: &'g Guest, script: &str) -> Running<'g> {
    let script = format!("exec < /dev/tty1 > /dev/tty1; echo > /there; {script}");
    let attached = Running::new(guest, guest.tool("attach", &["--", "/bin/busybox", "sh", "-c", &script]));
    let there = wait_for(crate::support::DEADLINE, || !guest.rootfs_file("there").is_empty());
    assert!(there, "{}", guest.logs());
    attached
}

const LINES: &str =
    "echo ready; while read line && [ \"$line\" != bye ]; do echo \"heard $line\"; done; busybox stty size";

fn stop(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn tty_carries_both_ways_and_the_escape_leads_out() {
    let test = "tty_carries_both_ways_and_the_escape_leads_out";
    let Some(guest) = with_tty(test, "console_client") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let attached = answer(&guest, LINES);
    let mut session = Session::new(&guest, &["-t", "1"]);
    let before = session.before;
    session.wait_heard("Connected to tty 1");
    session.wait_heard("<Ctrl+a q>");
    session.wait_heard("ready");
    assert_ne!(tcgetattr(&session.terminal).unwrap().local_flags, before, "not raw");
    session.type_keys(b"one\r");
    session.wait_heard("heard one");
    sandbox::resize(&session.terminal, 132, 43);
    session.type_keys(b"bye\r");
    session.wait_heard("43 132");
    session.type_keys(b"\x01q");
    let terminal = session.terminal.try_clone().unwrap();
    assert_eq!(session.wait().code, Some(0));
    assert_eq!(tcgetattr(&terminal).unwrap().local_flags, before);
    assert_eq!(attached.wait().code, Some(0));
    stop(&guest, running);
}

#[test]
fn escape_typed_twice_is_sent_once_and_another_letter_can_be_chosen() {
    let test = "escape_typed_twice_is_sent_once_and_another_letter_can_be_chosen";
    let Some(guest) = with_tty(test, "console_escape") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let attached = answer(&guest, "busybox stty raw -echo; echo ready; busybox head -c 4 | busybox od -An -tx1");
    let mut session = Session::new(&guest, &["-t", "1", "-e", "^b"]);
    session.wait_heard("<Ctrl+b q>");
    session.wait_heard("ready");
    session.type_keys(b"\x01q\x02\x02x");
    session.wait_heard("01 71 02 78");
    session.type_keys(b"\x02q");
    assert_eq!(session.wait().code, Some(0));
    assert_eq!(attached.wait().code, Some(0));
    stop(&guest, running);
}

#[test]
fn tty_in_use_or_not_there_is_refused() {
    let test = "tty_in_use_or_not_there_is_refused";
    let Some(guest) = with_tty(test, "console_taken") else { return };
    let refused = guest.client("console", &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("not running"), "{refused}");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let mut first = Session::new(&guest, &[]);
    first.wait_heard("Connected to tty 1");
    let mut second = Session::new(&guest, &[]);
    second.wait_heard("Connected to tty 2");
    for words in [&["-t", "1"][..], &["-t", "9"], &[]] {
        let refused = guest.client("console", words);
        assert_eq!(refused.code, Some(1), "{words:?} {refused}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused}");
    }
    first.type_keys(b"\x01q");
    second.type_keys(b"\x01q");
    assert_eq!((first.wait().code, second.wait().code), (Some(0), Some(0)));
    stop(&guest, running);
}

#[test]
fn pipe_in_the_place_of_a_terminal_is_relayed_as_well() {
    let test = "pipe_in_the_place_of_a_terminal_is_relayed_as_well";
    let Some(guest) = with_tty(test, "console_pipe") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let attached = answer(&guest, LINES);
    let mut command = guest.tool("console", &["-t", "1"]);
    command.stdin(Stdio::piped());
    let mut session = Running::new(&guest, command);
    session.wait_stdout("ready");
    session.write(b"one\n");
    session.wait_stdout("heard one");
    session.write(b"bye\n\x01q");
    let ended = session.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains("Connected to tty 1"), "{ended}");
    assert_eq!(attached.wait().code, Some(0));
    stop(&guest, running);
}

#[test]
fn end_of_the_container_ends_the_console_and_leaves_the_terminal_as_it_was() {
    let guest = Guest::new("console_end").config("lxc.console.path =");
    let running = guest.start("print hello , say up , forever");
    guest.wait_said("up");
    let session = Session::new(&guest, &["-t", "0"]);
    let before = session.before;
    session.wait_heard("Connected to tty 0");
    let terminal = session.terminal.try_clone().unwrap();
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    assert_eq!(session.wait().code, Some(0));
    assert_eq!(tcgetattr(&terminal).unwrap().local_flags, before);
}
