//! `monopod.ready`: when a guest is ready, who is told, and what follows when it is not.

use crate::support::kernel::Kernel;
use crate::support::{DEADLINE, Guest, Running, sandbox, wait_for, wait_until};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;

/// Android's own conditions, those of the preset and the end of the boot.
const BOOT: &str = "monopod.ready = coldboot property_service boot_completed";

/// The steps of an Android init with areas of this layout that goes on when the test says so.
fn boot(layout: &str) -> String {
    format!(
        "ready mount-dev , say up , ready await /tmp/1 , ready properties {layout} , ready setprop ro.other true , \
         ready setprop ro.cold_boot_done true , ready await /tmp/2 , ready mkdir /dev/socket , \
         ready socket /dev/socket/property_service , ready await /tmp/3 , ready setprop sys.boot_completed 0 , \
         ready setprop sys.boot_completed 1 , say booted , forever"
    )
}

/// Lets the guest go on.
fn step(guest: &Guest, name: &str) {
    fs::write(guest.rootfs().join("tmp").join(name), "").unwrap();
}

fn info(guest: &Guest) -> String {
    guest.client("info", &[]).stdout
}

/// Waits until `info` says what the guest waits for.
fn wait_waits_for(guest: &Guest, condition: &str) {
    let line = format!("Ready:          no, waits for {condition}");
    let met = wait_for(DEADLINE, || info(guest).lines().any(|each| each == line));
    assert!(met, "not {line:?}:\n{}\n{}", info(guest), guest.logs());
}

fn wait_ready(guest: &Guest) {
    let ended = guest.client("wait", &["-s", "READY", "-t", "30"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(info(guest).contains("Ready:          yes\n"), "{}", info(guest));
}

fn stop(guest: &Guest) {
    let ended = guest.client("stop", &["-k"]);
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn conditions_come_true_one_after_the_other_in_both_layouts() {
    for layout in ["file", "directory"] {
        let guest = Guest::new("ready_order").config(BOOT);
        let running = guest.start(&boot(layout));
        guest.wait_said("up");
        wait_waits_for(&guest, "coldboot");
        step(&guest, "1");
        wait_waits_for(&guest, "socket /dev/socket/property_service");
        step(&guest, "2");
        wait_waits_for(&guest, "property sys.boot_completed=1");
        step(&guest, "3");
        wait_ready(&guest);
        assert_eq!(guest.sandbox.processes(), [running.pid()], "nobody watches any longer");
        stop(&guest);
        guest.assert_nothing_left();
    }
}

#[test]
fn kernel_3_10_is_enough() {
    let mut guest = Guest::new("ready_old").config(BOOT);
    guest.set_kernel(Kernel::of_3_10());
    let running = guest.start(&boot("directory"));
    guest.wait_said("up");
    ["1", "2", "3"].into_iter().for_each(|name| step(&guest, name));
    wait_ready(&guest);
    assert_eq!(guest.sandbox.processes(), [running.pid()]);
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn coldboot_is_a_file_as_well_and_files_come_after_their_directories() {
    let guest = Guest::new("ready_files").config("monopod.ready = coldboot file:/dev/a/b/c socket:/run/s");
    let _running = guest.start(
        "ready mount-dev , ready touch /dev/.coldboot_done , ready await /tmp/1 , ready mkdir /dev/a , \
         ready mkdir /dev/a/b , ready touch /dev/a/b/c , ready mkdir /run , ready touch /run/s , say made , \
         ready await /tmp/2 , ready rm /run/s , ready socket /run/s , forever",
    );
    wait_waits_for(&guest, "file /dev/a/b/c");
    step(&guest, "1");
    guest.wait_said("made");
    wait_waits_for(&guest, "socket /run/s");
    step(&guest, "2");
    wait_ready(&guest);
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn what_a_mount_brings_is_seen() {
    // The directory exists already, with nothing in it; what is looked for comes with a whole filesystem.
    let guest = Guest::new("ready_mount").config("monopod.ready = property:a.b file:/dev/here");
    let _running = guest.start(
        "ready await /tmp/1 , ready mount-dev , ready properties directory , ready setprop a.b anything , \
         ready await /tmp/2 , ready mount-dev , ready touch /dev/here , forever",
    );
    wait_waits_for(&guest, "property a.b");
    step(&guest, "1");
    wait_waits_for(&guest, "file /dev/here");
    step(&guest, "2");
    wait_ready(&guest);
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn background_start_ends_when_the_guest_is_ready() {
    let guest = Guest::new("ready_daemon").config(BOOT).options(&["-d"]);
    let mut starting = guest.start(&boot("directory"));
    let mut waiting = Running::new(&guest, guest.tool("wait", &["-s", "READY"]));
    guest.wait_said("up");
    step(&guest, "1");
    step(&guest, "2");
    wait_waits_for(&guest, "property sys.boot_completed=1");
    assert!(starting.is_running() && waiting.is_running());
    assert_eq!(guest.client("wait", &["-s", "READY", "-t", "0"]).code, Some(1));
    step(&guest, "3");
    for ended in [starting.wait(), waiting.wait()] {
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended}");
    }
    assert!(guest.results().contains("booted") || info(&guest).contains("Ready:          yes"));
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn ready_fd_gets_its_line_when_the_guest_is_ready() {
    let guest = Guest::new("ready_fd_late").config("monopod.ready = file:/tmp/1").options(&["--ready-fd", "7"]);
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let mut command = guest.start_command("say up , forever");
    sandbox::inherit(&mut command, &theirs, 7);
    let running = Running::new(&guest, command);
    drop(theirs);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        ours.read_to_string(&mut text).map(|_| text).unwrap()
    });
    wait_waits_for(&guest, "file /tmp/1");
    assert!(!reader.is_finished());
    step(&guest, "1");
    // To its end: the watcher does not hold it.
    assert_eq!(reader.join().unwrap(), "\n");
    stop(&guest);
    running.wait();
}

#[test]
fn service_manager_hook_and_state_file_follow() {
    let guest = Guest::new("ready_told");
    let hook = guest.script("hook", "env > $dir/environment; cat $dir/state > $dir/state-in-hook");
    let guest = guest.config(&format!("{BOOT}\nmonopod.hook.ready = {hook}\nmonopod.state.file = {{dir}}/state"));
    let path = guest.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let guest = guest.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut heard = Vec::new();
    let mut hears = |line: &str| {
        wait_until(line, || {
            let mut datagram = [0; 2048];
            while let Ok(length) = socket.recv(&mut datagram) {
                heard.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
            }
            heard.iter().any(|each| each.starts_with(line))
        });
        heard.clone()
    };
    let running = guest.start(&boot("directory"));
    guest.wait_said("up");
    let init = guest.init();
    hears(&format!("STATUS=running, init is process {init}, waits for coldboot"));
    wait_until("state file", || guest.file("state").contains("\nready=no\nwaits_for=coldboot\n"));
    ["1", "2"].into_iter().for_each(|name| step(&guest, name));
    let so_far = hears(&format!("STATUS=running, init is process {init}, waits for property sys.boot_completed=1"));
    assert!(!so_far.contains(&"READY=1".into()), "{so_far:?}");
    step(&guest, "3");
    assert!(hears(&format!("STATUS=ready, init is process {init}")).contains(&"READY=1".into()));
    wait_until("hook", || guest.file("state-in-hook").contains("supervisor_pid"));
    let environment = guest.file("environment");
    assert!(environment.contains(&format!("LXC_PID={init}\n")), "{environment}");
    assert!(environment.contains(&format!("LXC_NAME={}\n", guest.name())), "{environment}");
    let pid = running.pid();
    let state = format!("state=RUNNING\npid={init}\nready=yes\nrestarts=0\nsupervisor_pid={pid}\n");
    assert_eq!(guest.file("state-in-hook"), state);
    stop(&guest);
    running.wait();
    assert!(!guest.dir().join("state").exists() && !guest.dir().join("state.new").exists());
    drop(socket);
    guest.assert_nothing_left();
}

#[test]
fn failing_hook_and_unwritable_state_file_are_only_warned_of() {
    let guest = Guest::new("ready_hook_fails")
        .config("monopod.ready = file:/there\nmonopod.hook.ready = /bin/false\nmonopod.state.file = {dir}/no/state");
    let running = guest.start("ready touch /there , forever");
    wait_ready(&guest);
    wait_until("warning", || guest.file("log").contains("ready /bin/false exited with code 1"));
    stop(&guest);
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(guest.file("log").matches("monopod.state.file").count(), 1, "{}", guest.logs());
}

#[test]
fn hook_that_runs_on_keeps_nobody_waiting_and_dies_with_the_life() {
    let guest = Guest::new("ready_hook_long");
    let hook = guest.script("hook", "exec sleep 60");
    let guest = guest.config(&format!("monopod.ready = file:/there\nmonopod.hook.ready = {hook}"));
    let running = guest.start("ready touch /there , forever");
    wait_ready(&guest);
    wait_until("hook", || guest.sandbox.processes().len() == 2);
    stop(&guest);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

/// A condition that never comes true, a deadline that passes soon.
const NEVER: &str = "monopod.ready = file:/ property:sys.boot_completed=1\nmonopod.timeout.ready = 200ms";
const LINE: &str = "not ready after 200 ms (monopod.timeout.ready): waits for property sys.boot_completed=1";

#[test]
fn late_guest_is_ignored_by_default_and_may_be_ready_later() {
    let guest = Guest::new("ready_ignore").config(NEVER).options(&["-d"]);
    let steps =
        "ready await /tmp/1 , ready mount-dev , ready properties file , ready setprop sys.boot_completed 1 , forever";
    let ended = guest.run(steps);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains(LINE), "{ended}");
    wait_waits_for(&guest, "property sys.boot_completed=1");
    step(&guest, "1");
    wait_ready(&guest);
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn late_guest_is_stopped_and_the_start_fails_with_the_reason() {
    for mode in ["-F", "-d"] {
        let guest = Guest::new("ready_stop").config(NEVER).config("monopod.ready.failed = stop");
        // Even where everything is restarted.
        let guest = guest.config("monopod.restart.when = always");
        let guest = if mode == "-d" { guest.options(&["-d"]) } else { guest };
        let ended = guest.run("say life , forever");
        assert_eq!(ended.code, Some(255), "{mode}{ended}");
        assert_eq!(ended.stderr.matches(LINE).count(), 1, "{mode}{ended}");
        assert_eq!(guest.results(), "life\n");
        guest.assert_nothing_left();
    }
}

#[test]
fn late_guest_is_restarted_as_after_a_crash_and_each_life_waits_anew() {
    let guest = Guest::new("ready_restart").config(
        "monopod.ready = file:/tmp/there
        monopod.timeout.ready = 500ms
        monopod.ready.failed = restart
        monopod.restart.when = failure
        monopod.restart.delay = 0ms",
    );
    let guest = guest.options(&["-d"]);
    let ended = guest.run("say life , ready hang-times 2 , ready touch /tmp/there , forever");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.results(), "life\nlife\nlife\n", "{ended}");
    assert!(guest.file("log").contains("not ready after 500 ms"), "{ended}");
    assert!(info(&guest).contains("Last exit:      was not ready in time and was killed"), "{}", info(&guest));
    stop(&guest);
    guest.assert_nothing_left();

    // By default only a reboot is followed by another life.
    let guest = Guest::new("ready_policy").config(NEVER).config("monopod.ready.failed = restart").options(&["-d"]);
    let ended = guest.run("forever");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(LINE), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn guest_that_ends_before_it_is_ready_was_no_good_start() {
    for (end, code) in [("exit 7", 7), ("poweroff", 255)] {
        let guest = Guest::new("ready_ends").config("monopod.ready = file:/never").options(&["-d"]);
        let starting = guest.start(&format!("say up , ready await /tmp/1 , {end}"));
        guest.wait_said("up");
        step(&guest, "1");
        let ended = starting.wait();
        assert_eq!(ended.code, Some(code), "{end}{ended}");
        assert!(ended.stderr.contains("ready: the container ended before it was ready"), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn kernel_that_cannot_watch_is_told_of_at_once() {
    for (policy, code) in [("ignore", 0), ("stop", 255)] {
        let guest = Guest::new("ready_no_inotify").options(&["-d"]);
        let mut guest = guest.config(&format!("monopod.ready = file:/there\nmonopod.ready.failed = {policy}"));
        guest.set_kernel(Kernel::new().answer(libc::SYS_inotify_init1, &[], libc::ENOSYS));
        let ended = guest.run("forever");
        assert_eq!(ended.code, Some(code), "{policy}{ended}");
        assert!(ended.stderr.contains("ready: watch for file /there: Function not implemented"), "{ended}");
        guest.client("stop", &["-k"]);
        guest.assert_nothing_left();
    }
}

#[test]
fn guest_that_ends_at_once_is_told_by_its_own_end() {
    let guest =
        Guest::new("ready_instant").config("monopod.ready = file:/never property:a.b\nmonopod.ready.failed = stop");
    for round in 0..20 {
        let ended = guest.run("exit 7");
        assert_eq!(ended.code, Some(7), "round {round}{ended}");
    }
    assert!(!guest.file("log").contains("watch for"), "{}", guest.logs());
    guest.assert_nothing_left();
}

#[test]
fn wait_for_ready_ends_with_the_container() {
    let guest = Guest::new("ready_wait").config("monopod.ready = file:/never");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let waiting = Running::new(&guest, guest.tool("wait", &["-s", "READY"]));
    let either = Running::new(&guest, guest.tool("wait", &["-s", "READY|STOPPED"]));
    wait_until("both clients to wait", || [&waiting, &either].iter().all(|one| sockets(one.pid()) == 1));
    stop(&guest);
    running.wait();
    let (waiting, either) = (waiting.wait(), either.wait());
    assert_eq!((waiting.code, either.code), (Some(1), Some(0)), "{waiting}{either}");
}

/// Sockets among the descriptors of a process.
fn sockets(pid: i32) -> usize {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

#[test]
fn without_conditions_ready_is_running_and_nobody_watches() {
    let guest = Guest::new("ready_none").config("monopod.preset = android\nmonopod.ready = none");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    assert_eq!(guest.client("wait", &["-s", "READY"]).code, Some(0));
    assert!(!info(&guest).contains("Ready:"), "{}", info(&guest));
    assert_eq!(guest.sandbox.processes(), [running.pid()]);
    stop(&guest);
}

#[test]
fn reboot_makes_the_next_life_wait_again() {
    let guest = Guest::new("ready_reboot").config("monopod.ready = file:/dev/there");
    // /dev is new in each life.
    let _running = guest.start(
        "restart-times 1 , say second , ready await /tmp/1 , ready mount-dev , ready touch /dev/there , forever",
    );
    guest.wait_said("second");
    wait_waits_for(&guest, "file /dev/there");
    step(&guest, "1");
    wait_ready(&guest);
    stop(&guest);
    guest.assert_nothing_left();
}

#[test]
fn wakelock_is_held_until_the_guest_is_ready_or_gone() {
    let guest = Guest::new("ready_wakelock").config("monopod.ready = file:/tmp/there\nmonopod.wakelock = boot");
    let power = guest.dir().join("power");
    fs::create_dir(&power).unwrap();
    ["wake_lock", "wake_unlock"].into_iter().for_each(|name| fs::write(power.join(name), "").unwrap());
    guest.sandbox.sh(&format!("mount --bind {} /sys/power", power.display()));
    let read = |name: &str| fs::read_to_string(power.join(name)).unwrap();

    let running = guest.start("say up , ready await /tmp/1 , ready touch /tmp/there , forever");
    guest.wait_said("up");
    assert_eq!((read("wake_lock"), read("wake_unlock")), ("boot".into(), "".into()));
    step(&guest, "1");
    wait_ready(&guest);
    assert_eq!(read("wake_unlock"), "boot");
    stop(&guest);
    running.wait();

    // A life that ends early gives it back, too.
    fs::remove_file(guest.rootfs().join("tmp/there")).unwrap();
    ["wake_lock", "wake_unlock"].into_iter().for_each(|name| fs::write(power.join(name), "").unwrap());
    guest.run("exit 0");
    assert_eq!((read("wake_lock"), read("wake_unlock")), ("boot".into(), "boot".into()));
}

/// A guest plays a trick with its property areas, and has good ones in the end. `begin` is before the trick: then somebody
/// must be reading.
fn hostile(begin: &str, trick: &str) {
    let guest = Guest::new("ready_hostile").config("monopod.ready = property:sys.boot_completed=1");
    let steps = format!(
        "ready mount-dev , {begin} ready await /tmp/1 , {trick} , say spoilt , ready await /tmp/2 , ready mount-dev , \
         ready properties directory , ready setprop sys.boot_completed 1 , forever"
    );
    let mut running = guest.start(&steps);
    wait_waits_for(&guest, "property sys.boot_completed=1");
    // The supervisor, the watcher, the reader.
    wait_until("a reader", || begin.is_empty() || guest.sandbox.processes().len() == 3);
    step(&guest, "1");
    guest.wait_said("spoilt");
    wait_waits_for(&guest, "property sys.boot_completed=1");
    assert!(running.is_running());
    step(&guest, "2");
    wait_ready(&guest);
    stop(&guest);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn hostile_files_in_place_of_an_area_are_waited_out() {
    for steps in [
        "ready fifo /dev/__properties__",
        "ready mkdir /dev/__properties__ , ready fifo /dev/__properties__/properties_serial",
        "ready mkdir /dev/__properties__ , ready link /proc/kmsg /dev/__properties__/properties_serial",
        "ready link /proc /dev/__properties__",
        "ready touch /dev/__properties__",
        "ready socket /dev/__properties__",
    ] {
        hostile("", steps);
    }
}

#[test]
fn hostile_areas_kill_nobody_but_their_reader() {
    let area = "/dev/__properties__/u:object_r:default_prop:s0";
    let serial = "/dev/__properties__/properties_serial";
    let begin = "ready properties directory , ready setprop sys.boot_completed 0 ,";
    for trick in [
        // Cut short while they are mapped, and a wake-up for who waits.
        format!("ready truncate {area} 0 , ready wake"),
        format!("ready truncate {serial} 0"),
        format!("ready truncate {serial} 130 , ready wake"),
        // Links in circles, and out of the area.
        format!("ready spoil {area} 20 , ready wake"),
        format!("ready spoil {area} 4294967292 , ready wake"),
        format!("ready spoil {area} 131072 , ready wake"),
    ] {
        hostile(begin, &trick);
    }
}
