//! The guest's report, read back: `key: value` lines (tests/init/report.rs writes them).

/// A report.
pub struct Report(String);

/// One line of the guest's mountinfo.
#[derive(Debug)]
pub struct Mount {
    /// What of the filesystem is mounted.
    pub root: String,
    /// Where.
    pub target: String,
    /// Options of this mount.
    pub options: String,
    /// `shared:N`, `master:N` or empty.
    pub propagation: String,
    /// Filesystem type.
    pub fstype: String,
    /// Options of the filesystem.
    pub super_options: String,
}

impl Report {
    pub fn new(text: String) -> Self {
        Report(text)
    }

    /// All values of `key`.
    pub fn all(&self, key: &str) -> Vec<&str> {
        let value = |line: &'_ str| -> Option<usize> {
            line.strip_prefix(key)?.strip_prefix(": ").map(|v| line.len() - v.len())
        };
        self.0.lines().filter_map(|line| value(line).map(|at| &line[at..])).collect()
    }

    /// The one value of `key`.
    #[track_caller]
    pub fn one(&self, key: &str) -> &str {
        let all = self.all(key);
        assert_eq!(all.len(), 1, "{key} in report:\n{}", self.0);
        all[0]
    }

    /// The value of `key` that begins with `word` and a blank, without both.
    #[track_caller]
    pub fn entry(&self, key: &str, word: &str) -> &str {
        self.find(key, word).unwrap_or_else(|| panic!("no {key} {word} in report:\n{}", self.0))
    }

    /// The same, or None.
    pub fn find(&self, key: &str, word: &str) -> Option<&str> {
        self.all(key).into_iter().find_map(|value| value.strip_prefix(word)?.strip_prefix(' '))
    }

    /// A capability set of /proc/self/status as a mask.
    #[track_caller]
    pub fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(self.entry("status", set), 16).unwrap()
    }

    /// The topmost mount on `target`.
    pub fn mount(&self, target: &str) -> Option<Mount> {
        self.mounts().into_iter().rfind(|mount| mount.target == target)
    }

    /// What a start must bring about whatever way it had to take: mounts, devices, ids, capabilities, namespaces,
    /// descriptors, limits; without what differs from run to run (pids, device and peer group numbers).
    pub fn digest(&self) -> String {
        let mut lines: Vec<String> = self.mounts().iter().map(Mount::digest).collect();
        let kept = ["Cap", "NoNewPrivs:", "Seccomp:", "SigBlk:", "SigIgn:", "SigCgt:"];
        for line in self.0.lines() {
            let (key, value) = line.split_once(": ").unwrap_or((line, ""));
            match key {
                "mount" => {}
                "status" if !kept.iter().any(|name| value.starts_with(name)) => {}
                "ns" => {
                    let (name, id) = value.split_once(' ').unwrap();
                    let hosts = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
                    lines.push(format!(
                        "ns {name} {}",
                        if hosts.to_string_lossy() == id { "the host's" } else { "own" }
                    ));
                }
                "session keyring" => {
                    const GET_KEYRING_ID: i32 = 0;
                    const SESSION: i32 = -3;
                    // SAFETY: the call takes numbers only.
                    let hosts = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) };
                    lines.push(format!("{key} {}", if hosts.to_string() == value { "the host's" } else { "own" }));
                }
                _ => lines.push(line.into()),
            }
        }
        lines.join("\n")
    }

    /// All mounts.
    pub fn mounts(&self) -> Vec<Mount> {
        self.all("mount").into_iter().map(Mount::new).collect()
    }
}

impl Mount {
    fn new(line: &str) -> Self {
        let (mount, filesystem) = line.split_once(" - ").unwrap();
        let mount: Vec<_> = mount.split(' ').collect();
        let filesystem: Vec<_> = filesystem.split(' ').collect();
        Mount {
            root: mount[3].into(),
            target: mount[4].into(),
            options: mount[5].into(),
            propagation: mount[6..].join(" "),
            fstype: filesystem[0].into(),
            super_options: filesystem[2].into(),
        }
    }

    fn digest(&self) -> String {
        let Mount { root, target, options, propagation, fstype, super_options } = self;
        let propagation = propagation.replace(|c: char| c.is_ascii_digit(), "");
        format!("mount {root} {target} {options} {propagation} {fstype} {super_options}")
    }

    /// Whether an option is set.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }
}
