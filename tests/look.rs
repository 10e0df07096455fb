//! The tools that look at containers and touch their cgroups: `info`, `ls`, `top`, `cgroup`, `device`. Beside LXC's own
//! tools where those are installed: the same words about the same container, whoever supervises it.

use crate::support::{Ended, Guest, Running, binary, emulated, is_64_bit, is_lxc, sandbox, skip, wait_until};
use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Whether LXC's own tools can be asked about our containers; the skip is said.
fn stock_tools(guest: &Guest, test: &str) -> bool {
    if guest.stock_tool("info", &[]).is_none() {
        skip(test, "LXC's own tools are not installed (package lxc)", true);
        return false;
    }
    if is_lxc() || emulated(test, "the link of LXC's name would need a qemu-user of its own") {
        return false;
    }
    let same = is_64_bit(&binary()) == cfg!(target_pointer_width = "64");
    if !same {
        skip(test, "LXC's own tools are of another word size than the binary under test", false);
    }
    same
}

/// A command of the binary under test by the name of LXC's tool.
fn by_lxcs_name(guest: &Guest, tool: &str, words: &[&str]) -> Command {
    let link = guest.dir().join(format!("lxc-{tool}"));
    let _ = symlink(fs::canonicalize(binary()).unwrap(), &link);
    let mut command = Command::new(link);
    command.args(["-n", guest.name(), "-P"]).arg(guest.dir().parent().unwrap()).args(words).stdin(Stdio::null());
    guest.enter(&mut command);
    command
}

/// Both tools say and answer the same. Figures move on between two questions, so they are asked until they agree.
#[track_caller]
fn agree(guest: &Guest, tool: &str, words: &[&str]) -> Ended {
    let mut last = None;
    let agreed = crate::support::wait_for(std::time::Duration::from_secs(10), || {
        let stock = Running::new(guest, guest.stock_tool(tool, words).unwrap()).wait();
        let ours = Running::new(guest, by_lxcs_name(guest, tool, words)).wait();
        let same = (stock.code, &stock.stdout) == (ours.code, &ours.stdout);
        last = Some((stock, ours));
        same
    });
    let (stock, ours) = last.unwrap();
    assert!(agreed, "{tool} {words:?}\nLXC's: {stock}\nours: {ours}");
    ours
}

/// Starts the guest by LXC's own lxc-start.
fn start_stock<'g>(guest: &'g Guest, steps: &str) -> Running<'g> {
    guest.install(steps);
    let running = Running::new(guest, guest.stock_tool("start", &["-F"]).unwrap());
    guest.wait_said("ready");
    running
}

/// A directory with a config beside the guest's.
fn define(guest: &Guest, name: &str, lines: &str) -> String {
    let name = format!("{name}-{}", guest.name());
    let directory = guest.dir().parent().unwrap().join(&name);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config"), format!("lxc.rootfs.path = dir:/nonexistent\n{lines}")).unwrap();
    name
}

fn end(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
}

/// What LXC's tools and ours are asked, of one container and the others of its lxcpath.
fn compare(guest: &Guest) {
    for words in [&[][..], &["-s", "-p", "-i"], &["-s", "-H"], &["-p", "-H"], &["-i"], &["-S"], &["-S", "-H"]] {
        agree(guest, "info", words);
    }
    for key in ["lxc.start.auto", "lxc.start.order", "lxc.group", "lxc.idmap", "lxc.uts.name", "lxc.no.such.key"] {
        agree(guest, "info", &["-c", key]);
        agree(guest, "info", &["-H", "-c", key]);
    }
    let format = "name,state,pid,ram,swap,autostart,groups,interface,ipv4,ipv6,unprivileged";
    for words in [
        &[][..],
        &["-1"],
        &["-f"],
        &["-f", "-F", format],
        &["-F", "name"],
        &["-f", "-F", "name,colour"],
        &["--active"],
        &["--running", "-1"],
        &["--frozen"],
        &["--stopped", "-f"],
        &["--defined"],
        &["-g", "web"],
        &["-g", "web,onboot", "-f"],
        &["-g", "nobody"],
        &["--filter", "^[ab]-"],
        &["--filter", "["],
        &["mp-[0-9]+-(1|2|3)"],
    ] {
        agree(guest, "ls", words);
    }
    for words in [&["cpuset.cpus"][..], &["memory.stat"], &["no.such"], &["tasks"], &["../cgroup.procs"]] {
        agree(guest, "cgroup", words);
    }
}

#[test]
fn lxcs_tools_and_ours_say_the_same_of_a_stock_container() {
    let test = "lxcs_tools_and_ours_say_the_same_of_a_stock_container";
    let guest = Guest::new("look_stock").config(
        "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.group = web\nlxc.group = onboot\nlxc.start.auto = 1\n\
         lxc.uts.name = box",
    );
    if !stock_tools(&guest, test) {
        return;
    }
    define(&guest, "a", "lxc.group = web\nlxc.start.auto = 1\nlxc.start.order = -3");
    define(&guest, "b-with-a-longer-name", "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536");
    let running = start_stock(&guest, "signals 5");
    let init = guest.init();
    // In an order that is not that of the numbers, and more than one family.
    guest.sandbox.sh(&format!(
        "for address in 192.0.2.9/24 192.0.2.2/24 fd00::7/64; do
             nsenter -t {init} -n ip addr add $address dev eth0
         done"
    ));
    compare(&guest);
    let all = agree(&guest, "info", &[]).stdout;
    for word in
        ["192.0.2.2\nIP:             192.0.2.9\nIP:             fd00::7\n", "Link:           veth", " TX bytes:"]
    {
        assert!(all.contains(word), "{word}: {all}");
    }
    let json = guest.client("info", &["--json"]).stdout;
    for word in ["\"ips\":[\"192.0.2.2\",\"192.0.2.9\",\"fd00::7\"]", "\"links\":[{\"name\":\"veth", "\"tx_bytes\":"] {
        assert!(json.contains(word), "{word}: {json}");
    }
    end(&guest, running);
    guest.assert_nothing_left();
}

#[test]
fn lxcs_tools_and_ours_say_the_same_of_our_container() {
    let test = "lxcs_tools_and_ours_say_the_same_of_our_container";
    let guest = Guest::new("look_ours").config("lxc.group = web\nlxc.net.0.type = empty\nlxc.uts.name = box");
    if !stock_tools(&guest, test) {
        return;
    }
    define(&guest, "a", "lxc.start.auto = 1");
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    compare(&guest);
    assert_eq!(guest.client("freeze", &[]).code, Some(0));
    for words in [&["--frozen"][..], &["-f"], &["--active", "--frozen"], &["--running"]] {
        agree(&guest, "ls", words);
    }
    assert_eq!(guest.client("unfreeze", &[]).code, Some(0));
    end(&guest, running);
    guest.assert_nothing_left();
}

#[test]
fn ls_tells_all_as_json_and_in_columns() {
    let guest = Guest::new("ls").config("lxc.group = web\nlxc.net.0.type = empty");
    let other = define(&guest, "a", "lxc.start.auto = 1\nlxc.group = web\nlxc.group = db");
    define(&guest, ".hidden", "");
    fs::create_dir(guest.dir().parent().unwrap().join("no-config")).unwrap();
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    let json = guest.client("ls", &["--json"]).stdout;
    let stopped = format!("[{{\"name\":\"{other}\",\"state\":\"STOPPED\",\"pid\":null,\"ram_bytes\":null");
    assert!(json.starts_with(&stopped), "{json}");
    let here = format!("{{\"name\":\"{}\",\"state\":\"RUNNING\",\"pid\":{},\"ram_bytes\":", guest.name(), guest.init());
    assert!(json.contains(&here), "{json}");
    assert!(json.contains("\"autostart\":true,\"unprivileged\":false,\"groups\":[\"web\",\"db\"]"), "{json}");
    assert!(!json.contains("hidden") && !json.contains("no-config"), "{json}");
    let columns = guest.client("ls", &["-F", "Name,STATE", "--filter", "^a-"]).stdout;
    let width = other.len();
    assert_eq!(columns, format!("{:<width$} STATE   \n{other} STOPPED \n", "NAME"));
    let refused = guest.client("ls", &["--filter", "(a"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    let refused = guest.client("ls", &["-F", "name,colour"]);
    assert_eq!((refused.code, refused.stderr.trim()), (Some(1), "Invalid key: colour"));
    end(&guest, running);
}

#[test]
fn ls_shows_a_supervisor_that_talks_nonsense() {
    if !is_64_bit(&binary()) {
        return skip("ls_shows_a_supervisor_that_talks_nonsense", "what it talks is nonsense of 64 bits", false);
    }
    let guest = Guest::new("ls_nonsense");
    guest.install("");
    let name = format!("{}/command", guest.dir().display());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let liar = UnixListener::bind_addr(&address).unwrap();
    liar.set_nonblocking(true).unwrap();
    let listed = Running::new(&guest, guest.tool("ls", &["--json"]));
    // Kept open: who asks late must not find the end of the connection.
    let mut clients = Vec::new();
    wait_until("its answer", || {
        if let Ok((mut client, _)) = liar.accept() {
            // A state that there is not.
            let _ = client.write_all(&[0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]);
            clients.push(client);
        }
        listed.stdout().ends_with('\n')
    });
    let listed = listed.wait();
    assert!(listed.stdout.contains("\"state\":\"UNKNOWN\",\"pid\":null"), "{listed}");
}

#[test]
fn ls_finds_containers_inside_of_others() {
    let test = "ls_finds_containers_inside_of_others";
    if is_lxc() || emulated(test, "nsenter would have to enter with qemu-user") {
        return;
    }
    let guest = Guest::new("nesting").config("lxc.net.0.type = empty");
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    // A supervisor in the guest's network; the config's place shows that nobody looks for one below the lxcpath.
    let inner = format!("{}-inner", guest.name());
    let rootfs = guest.dir().join("inner");
    fs::create_dir_all(rootfs.join("dev")).unwrap();
    fs::create_dir_all(rootfs.join("proc")).unwrap();
    fs::copy(guest.rootfs().join("init"), rootfs.join("init")).unwrap();
    let config = format!(
        "lxc.rootfs.path = dir:{}\nlxc.console.path = none\nlxc.net.0.type = empty\nlxc.group = deep\n\
         lxc.init.cmd = /init say up , forever\n",
        rootfs.display()
    );
    fs::write(guest.dir().join("inner.conf"), config).unwrap();
    let inside = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["-n", "-t", &guest.init().to_string()]).arg(binary()).args(words);
        command.args(["-n", &inner, "-P"]).arg(guest.dir().parent().unwrap()).stdin(Stdio::null());
        guest.enter(&mut command);
        Running::new(&guest, command)
    };
    let config = guest.dir().join("inner.conf");
    let supervisor = inside(&["start", "-F", "-f", config.to_str().unwrap()]);
    let states = || guest.client("ls", &["--nesting", "-F", "state"]).stdout;
    wait_until("the inner one", || states().matches("RUNNING").count() == 2);
    let names = guest.client("ls", &["-1", "--nesting=1"]).stdout;
    assert_eq!(names, format!("{0}\n{0}/{inner}\n", guest.name()));
    assert_eq!(guest.client("ls", &["-1", "--nesting=0"]).stdout, format!("{}\n", guest.name()));
    assert_eq!(guest.client("ls", &["-1"]).stdout, format!("{}\n", guest.name()));
    let table = guest.client("ls", &["--nesting", "-F", "name,state,groups"]).stdout;
    let last: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(last, [&format!("\\{inner}"), "RUNNING", "deep"], "{table}");
    assert_eq!(inside(&["stop", "-k"]).wait().code, Some(0));
    supervisor.wait();
    end(&guest, running);
    guest.assert_nothing_left();
}

#[test]
fn cgroup_sets_and_reads_a_file_of_the_container_only() {
    let guest = Guest::new("cgroup");
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    let v1 = fs::exists("/sys/fs/cgroup/pids").unwrap();
    let set = guest.client("cgroup", &["pids.max", "77"]);
    if set.code != Some(0) && !v1 {
        skip("cgroup_sets_and_reads_a_file_of_the_container_only", "no pids controller here", false);
    } else {
        assert_eq!(set.code, Some(0), "{set}");
        assert_eq!(guest.client("cgroup", &["pids.max"]).stdout, "77\n");
    }
    for file in ["../tasks", "../../pids.max", "..", ".", "/etc/passwd", "no.such", ""] {
        let refused = guest.client("cgroup", &[file]);
        assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{file}: {refused}");
    }
    let refused = guest.client("cgroup", &["pids.max", "many"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("set pids.max") || !v1, "{refused}");
    end(&guest, running);
    let ended = guest.client("cgroup", &["pids.max"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    guest.assert_nothing_left();
}

/// The hosts of today: v2 alone. And those of yesterday, which had none.
#[test]
fn cgroup_files_are_found_in_v2_alone_and_in_v1_alone() {
    let test = "cgroup_files_are_found_in_v2_alone_and_in_v1_alone";
    for (label, script, file) in [
        ("look_v2", "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup", "cpu.stat"),
        ("look_v1", "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified", "cpuacct.usage"),
    ] {
        let guest = Guest::new(label).config("lxc.net.0.type = empty");
        guest.sandbox.sh(script);
        let running = guest.start("signals 5");
        guest.wait_said("ready");
        let read = guest.client("cgroup", &[file]);
        if read.code == Some(1) && label == "look_v1" && !fs::exists("/sys/fs/cgroup/cpuacct").unwrap() {
            skip(test, "no v1 hierarchies here", false);
        } else {
            assert!(read.code == Some(0) && read.stdout.contains(|c: char| c.is_ascii_digit()), "{label}: {read}");
            let info = guest.client("info", &["-S"]);
            assert!(info.stdout.starts_with("CPU use:  "), "{label}: {info}");
        }
        end(&guest, running);
        guest.assert_nothing_left();
    }
}

/// LXC's supervisor names v2's cgroups in another way than v1's, and wants device rules of a certain length.
#[test]
fn stock_container_in_v2_alone_has_its_files_found_and_its_devices_changed() {
    let test = "stock_container_in_v2_alone_has_its_files_found_and_its_devices_changed";
    let guest = Guest::new("look_stock_v2").config("lxc.autodev = 1");
    if !stock_tools(&guest, test) {
        return;
    }
    guest.sandbox.sh("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    let running = start_stock(&guest, "signals 5");
    let procs = guest.client("cgroup", &["cgroup.procs"]);
    assert_eq!(procs.stdout, format!("{}\n", guest.init()), "{procs}");
    let added = guest.client("device", &["add", "/dev/zero", "/dev/nothing"]);
    assert_eq!(added.code, Some(0), "{added}");
    let node = fs::symlink_metadata(format!("/proc/{}/root/dev/nothing", guest.init())).unwrap();
    assert!(node.file_type().is_char_device());
    let removed = guest.client("device", &["del", "/dev/zero", "/dev/nothing"]);
    assert_eq!(removed.code, Some(0), "{removed}");
    end(&guest, running);
    guest.assert_nothing_left();
}

#[test]
fn device_is_made_and_allowed_then_removed_and_denied() {
    let guest = Guest::new("device")
        .config("lxc.autodev = 1\nlxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm");
    if !fs::exists("/sys/fs/cgroup/devices/devices.list").unwrap() {
        return skip("device_is_made_and_allowed_then_removed_and_denied", "no v1 devices hierarchy here", false);
    }
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    let root = PathBuf::from(format!("/proc/{}/root", guest.init()));
    let list = || guest.client("cgroup", &["devices.list"]).stdout;
    assert!(!list().contains("c 1:5 "), "{}", list());
    for _ in 0..2 {
        let added = guest.client("device", &["add", "/dev/zero", "/dev/more/nothing"]);
        assert_eq!(added.code, Some(0), "{added}");
    }
    let node = fs::symlink_metadata(root.join("dev/more/nothing")).unwrap();
    assert!(node.file_type().is_char_device());
    assert_eq!(node.rdev(), fs::metadata("/dev/zero").unwrap().rdev());
    assert_eq!(node.mode() & 0o777, fs::metadata("/dev/zero").unwrap().mode() & 0o777);
    assert!(list().contains("c 1:5 rwm"), "{}", list());
    let kept = guest.client("device", &["del", "/dev/null", "/dev/more/nothing"]);
    assert_eq!(kept.code, Some(1), "{kept}");
    assert!(root.join("dev/more/nothing").exists());
    let removed = guest.client("device", &["del", "/dev/zero", "/dev/more/nothing"]);
    assert_eq!(removed.code, Some(0), "{removed}");
    assert!(!root.join("dev/more/nothing").exists() && !list().contains("c 1:5 "));
    end(&guest, running);
    guest.assert_nothing_left();
}

/// In v2 the supervisor's program decides, and is asked to.
#[test]
fn device_in_v2_alone_is_allowed_by_the_supervisor() {
    if emulated("device_in_v2_alone_is_allowed_by_the_supervisor", "qemu-user has no bpf(2)") || is_lxc() {
        return;
    }
    let guest = Guest::new("device_v2")
        .config("lxc.autodev = 1\nlxc.cgroup2.devices.deny = a\nlxc.cgroup2.devices.allow = c 1:3 rwm");
    guest.sandbox.sh("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    let running =
        guest.start("signals 1 , write /dev/nothing x , signals 1 , write /dev/null x , write /dev/nothing x");
    guest.wait_said("ready");
    let client = |verb: &str| guest.client("device", &[verb, "/dev/zero", "/dev/nothing"]);
    let added = client("add");
    assert_eq!(added.code, Some(0), "{added}");
    running.signal(libc::SIGTERM);
    guest.wait_said("write /dev/nothing: ok");
    wait_until("the second wait", || guest.results().matches("ready").count() == 2);
    // The program forbids the device itself, whatever its node.
    let removed = client("del");
    assert_eq!(removed.code, Some(0), "{removed}");
    guest.sandbox.sh(&format!("mknod /proc/{}/root/dev/nothing c 1 5", guest.init()));
    running.signal(libc::SIGTERM);
    running.wait();
    let expected = "write /dev/null: ok\nwrite /dev/nothing: Operation not permitted\n";
    assert!(guest.results().ends_with(expected), "{}", guest.results());
    guest.assert_nothing_left();
}

#[test]
fn device_never_leaves_the_container() {
    let guest = Guest::new("device_trap");
    let outside = guest.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, guest.rootfs().join("trap")).unwrap();
    symlink("/", guest.rootfs().join("mnt/up")).unwrap();
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    for place in ["/trap/node", "/trap/more/node", "/mnt/up/node", "/mnt/../../node", "/", "/tmp/.."] {
        let refused = guest.client("device", &["add", "/dev/zero", place]);
        assert_eq!(refused.code, Some(1), "{place}: {refused}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    for (device, word) in [("/dev/no-such", "No such file"), ("/etc/passwd", "no device"), ("lo", "interface")] {
        let refused = guest.client("device", &["add", device]);
        assert!(refused.code == Some(1) && refused.stderr.contains(word), "{device}: {refused}");
    }
    end(&guest, running);
    guest.assert_nothing_left();
}

#[test]
fn top_in_batches_needs_no_terminal() {
    let guest = Guest::new("top");
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    let top = Running::new(&guest, guest.tool("top", &["-b", "-d", "1"]));
    top.wait_stdout(&format!(",{},", guest.name()));
    wait_until("a second round", || top.stdout().lines().count() > 2);
    top.signal(libc::SIGTERM);
    let stdout = top.wait().stdout;
    let mut lines = stdout.lines();
    let heading = lines.next().unwrap();
    assert!(heading.starts_with("time_ms,container,cpu_nanos,"), "{stdout}");
    for line in lines {
        assert_eq!(line.split(',').count(), heading.split(',').count(), "{stdout}");
    }
    let json = Running::new(&guest, guest.tool("top", &["--json"]));
    json.wait_stdout(&format!("\"containers\":[{{\"name\":\"{}\",\"cpu_ns\":", guest.name()));
    json.signal(libc::SIGTERM);
    json.wait();
    let refused = guest.client("top", &[]);
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{refused}");
    end(&guest, running);
}

/// What of a terminal's settings the kernel keeps.
fn settings(terminal: &std::os::fd::OwnedFd) -> (u32, u32, u32, u32, Vec<u8>) {
    let all = nix::sys::termios::tcgetattr(terminal).unwrap();
    let flags = [all.input_flags.bits(), all.output_flags.bits(), all.control_flags.bits(), all.local_flags.bits()];
    (flags[0], flags[1], flags[2], flags[3], all.control_chars[..17].to_vec())
}

#[test]
fn top_gives_the_terminal_back_however_it_ends() {
    let test = "top_gives_the_terminal_back_however_it_ends";
    if emulated(test, "qemu-user has its own opinion of terminals") {
        return;
    }
    let guest = Guest::new("top_terminal");
    let running = guest.start("signals 5");
    guest.wait_said("ready");
    for signal in [None, Some(libc::SIGINT), Some(libc::SIGTERM), Some(libc::SIGHUP), Some(libc::SIGQUIT)] {
        let (ours, theirs) = sandbox::pty(120, 40);
        let before = settings(&theirs);
        let mut command = guest.tool("top", &["-d", "60"]);
        command.stdin(theirs.try_clone().unwrap());
        let top = Running::new(&guest, command);
        top.wait_stdout("TOTAL 1 of 1");
        assert!(top.stdout().contains(&format!("\x1b[0m{}", guest.name())), "{}", top.stdout());
        assert_ne!(settings(&theirs), before);
        // Another order is another round at once.
        let mut keys = fs::File::from(ours.try_clone().unwrap());
        keys.write_all(b"c").unwrap();
        wait_until("the next round", || top.stdout().matches("TOTAL").count() == 2);
        match signal {
            Some(signal) => top.signal(signal),
            None => keys.write_all(b"q").unwrap(),
        }
        let ended = top.wait();
        assert_eq!(ended.code, Some(0), "{signal:?}: {ended}");
        assert_eq!(settings(&theirs), before, "{signal:?}");
    }
    end(&guest, running);
}
