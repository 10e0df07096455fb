//! `lxc-checkconfig`: LXC's list of kernel options, line by line as its script prints it.

use super::options;
use core::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the list is made of.
pub struct Given<'a> {
    /// Where the kernel's config is looked for at first.
    pub config: PathBuf,
    /// The program's name for messages, and as it was called.
    pub program: &'a str,
    /// The program's path.
    pub path: &'a str,
    /// Print in colours.
    pub colours: bool,
}

/// What an option is called in the list, which option it is (empty: none), and which module.
type Row = (&'static str, &'static str, &'static str);

/// Network and the rest; the two of NAT count for some kernels only.
const MISC: [Row; 11] = [
    ("Veth pair device", "CONFIG_VETH", "veth"),
    ("Macvlan", "CONFIG_MACVLAN", "macvlan"),
    ("Vlan", "CONFIG_VLAN_8021Q", "8021q"),
    ("Bridges", "CONFIG_BRIDGE", "bridge"),
    ("Advanced netfilter", "CONFIG_NETFILTER_ADVANCED", "nf_tables"),
    ("CONFIG_NF_NAT_IPV4", "CONFIG_NF_NAT_IPV4", "nf_nat_ipv4"),
    ("CONFIG_NF_NAT_IPV6", "CONFIG_NF_NAT_IPV6", "nf_nat_ipv6"),
    ("CONFIG_IP_NF_TARGET_MASQUERADE", "CONFIG_IP_NF_TARGET_MASQUERADE", "nf_nat_masquerade_ipv4"),
    ("CONFIG_IP6_NF_TARGET_MASQUERADE", "CONFIG_IP6_NF_TARGET_MASQUERADE", "nf_nat_masquerade_ipv6"),
    ("CONFIG_NETFILTER_XT_TARGET_CHECKSUM", "CONFIG_NETFILTER_XT_TARGET_CHECKSUM", "xt_CHECKSUM"),
    ("CONFIG_NETFILTER_XT_MATCH_COMMENT", "CONFIG_NETFILTER_XT_MATCH_COMMENT", "xt_comment"),
];

const RESTORE: [(&str, &str); 8] = [
    ("checkpoint restore", "CONFIG_CHECKPOINT_RESTORE"),
    ("CONFIG_FHANDLE", "CONFIG_FHANDLE"),
    ("CONFIG_EVENTFD", "CONFIG_EVENTFD"),
    ("CONFIG_EPOLL", "CONFIG_EPOLL"),
    ("CONFIG_UNIX_DIAG", "CONFIG_UNIX_DIAG"),
    ("CONFIG_INET_DIAG", "CONFIG_INET_DIAG"),
    ("CONFIG_PACKET_DIAG", "CONFIG_PACKET_DIAG"),
    ("CONFIG_NETLINK_DIAG", "CONFIG_NETLINK_DIAG"),
];

struct Listing<'a> {
    kernel: &'a [u8],
    modules: Option<String>,
    colours: bool,
    text: String,
}

impl Listing<'_> {
    /// LXC asks by `grep`: any line that has the name somewhere.
    fn is_set(&self, option: &str) -> bool {
        let wanted = [option.as_bytes(), b"="].concat();
        let mut rest = self.kernel;
        while let Some(at) = crate::text::find(rest, &wanted) {
            rest = rest.get(at + wanted.len()..).unwrap_or_default();
            if let [b'y' | b'm' | b'|', ..] = rest {
                return true;
            }
        }
        false
    }

    fn say(&mut self, colour: u8, word: &str) {
        let _ = match self.colours {
            true => write!(self.text, "\x1b[1;{colour}m{word}\x1b[0;39m"),
            false => write!(self.text, "{word}"),
        };
    }

    /// `enabled`, or how bad its absence is.
    fn state(&mut self, enabled: bool, mandatory: bool) {
        match (enabled, mandatory) {
            (true, _) => self.say(32, "enabled"),
            (false, true) => self.say(31, "required"),
            (false, false) => self.say(33, "missing"),
        }
    }

    fn row(&mut self, label: &str, option: &str, mandatory: bool) {
        let _ = write!(self.text, "{label}: ");
        let enabled = self.is_set(option);
        self.state(enabled, mandatory);
        self.text.push('\n');
    }

    /// A row; if the option is on, with whether its module is loaded.
    fn with_module(&mut self, (label, option, module): Row) {
        let _ = write!(self.text, "{label}: ");
        let enabled = self.is_set(option);
        self.state(enabled, false);
        if enabled && let Some(modules) = &self.modules {
            self.text.push_str(if modules.contains(module) { ", loaded" } else { ", not loaded" });
        }
        self.text.push('\n');
    }

    fn cgroups(&mut self, version: (u64, u64)) {
        self.text.push_str("--- Control groups ---\n");
        self.row("Cgroups", "CONFIG_CGROUPS", false);
        self.text.push_str("Cgroup namespace: ");
        self.state(Path::new("/proc/self/ns/cgroup").is_file(), false);
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = |kind: &str| -> Vec<&str> {
            let rows = table.lines().filter_map(|line| {
                let mut words = line.split(' ');
                let (source, place, is) = (words.next()?, words.next()?, words.next()?);
                (!source.contains('#') && is == kind).then_some(place)
            });
            rows.collect()
        };
        let (v1, v2) = (places("cgroup"), places("cgroup2"));
        self.text.push_str("\nCgroup v1 mount points: \n");
        for place in &v1 {
            let _ = writeln!(self.text, " - {place}");
        }
        self.text.push_str("Cgroup v2 mount points: \n");
        for place in &v2 {
            let _ = writeln!(self.text, " - {place}");
        }
        if v2 != ["/sys/fs/cgroup"] {
            for name in ["systemd", "freezer"] {
                if !v1.iter().any(|place| place.contains(&format!("/{name}"))) {
                    let _ = write!(self.text, "Cgroup v1 {name} controller: ");
                    self.say(31, "missing");
                    self.text.push('\n');
                }
            }
            if Path::new(v1.first().unwrap_or(&"")).join("cgroup.clone_children").is_file() {
                self.text.push_str("Cgroup v1 clone_children flag: ");
                match self.colours {
                    // LXC's script ends the line before it ends the colour.
                    true => self.text.push_str("\x1b[1;32menabled\n\x1b[0;39m"),
                    false => self.text.push_str("enabled\n"),
                }
            }
        }
        self.row("Cgroup device", "CONFIG_CGROUP_DEVICE", false);
        self.row("Cgroup sched", "CONFIG_CGROUP_SCHED", false);
        self.row("Cgroup cpu account", "CONFIG_CGROUP_CPUACCT", false);
        let memory = if version >= (3, 6) { "CONFIG_MEMCG" } else { "CONFIG_CGROUP_MEM_RES_CTLR" };
        self.row("Cgroup memory controller", memory, false);
        if self.is_set("CONFIG_SMP") {
            self.row("Cgroup cpuset", "CONFIG_CPUSETS", false);
        }
    }
}

/// The whole list. Err: what the script says on stderr where there is no config of the kernel; what it says before that
/// on stdout is in `before`.
pub fn list(given: &Given<'_>, release: &str, before: &mut String) -> Result<String, String> {
    let mut place = given.config.clone();
    if !place.is_file() {
        let _ = writeln!(before, "Kernel configuration not found at {}; searching...", place.display());
        let others = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/build/.config")];
        let found = others.iter().map(PathBuf::from).find(|path| path.is_file());
        let Some(found) = found else {
            return Err(format!(
                "{}: unable to retrieve kernel configuration\n\nTry recompiling with IKCONFIG_PROC, installing the kernel \
                 headers,\nor specifying the kernel configuration path with:\n  CONFIG=<path> {}\n",
                given.program, given.program
            ));
        };
        place = found;
        let _ = writeln!(before, "Kernel configuration found at {}", place.display());
    }
    let kernel = options::read(&place).map_err(|why| format!("{}: {}: {why}\n", given.program, place.display()))?;
    let modules = fs::read_to_string("/proc/modules").ok();
    let mut list = Listing { kernel: &kernel, modules, colours: given.colours, text: String::new() };
    let version = options::version(&kernel).unwrap_or_else(|| {
        list.text.push_str("WARNING: Unable to detect version from configuration, assuming latest\n\n");
        (100, 0)
    });
    list.text.push_str("\n--- Namespaces ---\n");
    list.row("Namespaces", "CONFIG_NAMESPACES", true);
    list.row("Utsname namespace", "CONFIG_UTS_NS", false);
    list.row("Ipc namespace", "CONFIG_IPC_NS", true);
    list.row("Pid namespace", "CONFIG_PID_NS", true);
    list.row("User namespace", "CONFIG_USER_NS", false);
    if list.is_set("CONFIG_USER_NS") {
        for tool in ["newuidmap", "newgidmap"] {
            match find_program(tool)
                .map(|path| fs::metadata(path).is_ok_and(|is| is.permissions().mode() & 0o4000 != 0))
            {
                None => drop(writeln!(list.text, "{tool} is not installed")),
                Some(false) => drop(writeln!(list.text, "Warning: {tool} is not setuid-root")),
                Some(true) => {}
            }
        }
    }
    list.row("Network namespace", "CONFIG_NET_NS", false);
    if version < (4, 7) {
        list.row("Multiple /dev/pts instances", "DEVPTS_MULTIPLE_INSTANCES", false);
    }
    list.text.push('\n');
    list.cgroups(version);
    list.text.push_str("\n--- Misc ---\n");
    // As the script counts: 4.7 up to 4.x.
    let nat = version.0 == 4 && version.1 > 6;
    for row in MISC.into_iter().filter(|(label, ..)| nat || !label.starts_with("CONFIG_NF_NAT")) {
        list.with_module(row);
    }
    list.with_module(("FUSE (for use with lxcfs)", "CONFIG_FUSE_FS", "fuse"));
    list.text.push_str("\n--- Checkpoint/Restore ---\n");
    for (label, option) in RESTORE {
        list.row(label, option, false);
    }
    match version.0 == 2 && version.1 < 33 {
        true => list.row("File capabilities", "CONFIG_SECURITY_FILE_CAPABILITIES", false),
        false => {
            list.text.push_str("File capabilities: ");
            list.say(32, "enabled");
            list.text.push('\n');
        }
    }
    let _ = write!(
        list.text,
        "\nNote : Before booting a new kernel, you can check its configuration\nusage : CONFIG=/path/to/config {}\n\n",
        given.path
    );
    Ok(list.text)
}

/// Where a command is, as a shell would find it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|is| is.is_file() && is.permissions().mode() & 0o111 != 0))
}
