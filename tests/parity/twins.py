"""The same small config started by LXC's own tools and by ours: every line of what init, hooks and users see, compared."""

from collections import Counter
import pathlib
import re
import shutil

from world import World

HERE = pathlib.Path(__file__).parent
SECONDS = 40
TAIL_LINES = 25
BASE = """
lxc.rootfs.path = dir:/var/lib/lxc/c/rootfs
lxc.init.cmd = /init report , signals 99
lxc.uts.name = twin
lxc.net.0.type = empty
lxc.pty.max = 16
"""
# What of /proc/self/status is a container's doing.
STATUS = "Cap|NoNewPrivs|Seccomp|Sig(Pnd|Blk|Ign|Cgt)|Uid|Gid|Groups|Umask|NSpid"

CONFIGS = {
    "plain": "",
    "autodev-0": "lxc.autodev = 0",
    "autodev-1": "lxc.autodev = 1\nlxc.autodev.tmpfs.size = 100000",
    "ttys": "lxc.tty.max = 3\nlxc.pty.max = 10",
    "tty-dir": "lxc.tty.max = 2\nlxc.tty.dir = lxc",
    "console-none": "lxc.console.path = none\nlxc.tty.max = 1",
    "auto-mixed": "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed",
    "auto-ro": "lxc.mount.auto = proc:mixed sys:ro cgroup:ro",
    "auto-rw": "lxc.mount.auto = proc:rw sys:rw cgroup:rw",
    "auto-full": "lxc.mount.auto = proc sys cgroup-full:mixed",
    "auto-force": "lxc.mount.auto = proc sys cgroup:mixed:force",
    "entries": """
        lxc.mount.auto = proc
        lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,mode=755,size=1m,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/share none bind,ro,create=dir 0 0
        lxc.mount.entry = /etc/hostname etc/name none bind,create=file 0 0
        lxc.mount.entry = /nowhere mnt/nowhere none bind,optional,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/noexec none rbind,noexec,create=dir 0 0
        lxc.mount.entry = /usr/share/lxc mnt/slave none rbind,rslave,noexec,create=dir 0 0""",
    "rootfs-options": "lxc.rootfs.options = nodev,nosuid,noatime\nlxc.mount.auto = proc",
    "caps-drop": "lxc.cap.drop = sys_time sys_module mknod\nlxc.cap.drop = net_raw\nlxc.mount.auto = proc",
    "caps-keep": "lxc.cap.keep = chown kill setuid setgid\nlxc.mount.auto = proc sys",
    "prlimit": "lxc.prlimit.nofile = 512:1024\nlxc.prlimit.core = 0\nlxc.prlimit.nproc = 2000\nlxc.mount.auto = proc",
    "environment": "lxc.environment = A=b c\nlxc.environment = EMPTY=\nlxc.environment = PATH=/bin:/sbin",
    "user": "lxc.init.uid = 1000\nlxc.init.gid = 1001\nlxc.init.cwd = /tmp\nlxc.mount.auto = proc",
    "groups": "lxc.init.groups = 7,8\nlxc.mount.auto = proc",
    "personality": "lxc.arch = i686",
    "no-new-privs": "lxc.no_new_privs = 1\nlxc.mount.auto = proc",
    "sysctl": "lxc.sysctl.net.ipv4.ip_forward = 1\nlxc.mount.auto = proc",
    "oom": "lxc.proc.oom_score_adj = 500\nlxc.mount.auto = proc",
    "loopback": "lxc.net.0.flags = up\nlxc.mount.auto = proc",
    "namespaces": "lxc.namespace.keep = user ipc net\nlxc.mount.auto = proc",
    "groups-of-start": "lxc.group = web\nlxc.group = db\nlxc.start.auto = 1",
}
HOOKS = "pre-start pre-mount mount autodev start-host start stop post-stop".split()
for version in "01":
    # LXC takes the whole of a start hook for the name of its file.
    lines = [f"lxc.hook.{kind} = {'/hook' if kind == 'start' else '/run/parity/twin/hook word'}" for kind in HOOKS]
    CONFIGS[f"hooks-v{version}"] = "\n".join(["lxc.mount.auto = proc", f"lxc.hook.version = {version}", *lines])


def transcript(config, binary, init):
    """The lines of one life, without what differs from run to run."""
    with World(binary) as world:
        twin = world.dir / "twin"
        twin.mkdir()
        shutil.copy(init, twin / "init")
        shutil.copy(HERE / "hook", twin)
        shutil.copy(HERE / "twin.sh", world.dir)
        base = BASE if config else BASE.replace("lxc.pty.max = 16\n", "")
        (twin / "config").write_text(base + "\n".join(map(str.strip, config.splitlines())) + "\n")
        code, output, left = world.run(["/run/parity/twin.sh"], SECONDS)
        file = world.dir / "transcript"
        raw = file.read_text(errors="replace") if file.exists() else ""
        log = (world.dir / "log").read_text(errors="replace") if (world.dir / "log").exists() else ""
    if code:
        raw += f"life: exit code {code}: {output}\n"
    if code is None:
        raw += "life: no end in time\n"
    raw += "".join(f"life: leaves {what}\n" for what in left)
    return normal(raw, world.dir.name), raw, log


def normal(raw, world):
    """The transcript without what differs from run to run. What a tool prints goes with its command, what a hook says with
    its place in the order."""
    kept, own, command, hook = [], {}, "", 0
    for line in raw.replace(world, "WORLD").replace("/run/parity/bin:", "").splitlines():
        kind, _, text = line.partition(": ")
        key, _, value = text.partition(": ")
        if kind == "world":
            own.update([text.split()])
        elif kind == "init" and key == "ns":
            name, number = value.split()
            kept.append(f"init: ns {name} {'shared' if own.get(name) == number else 'own'}")
        elif kind == "init" and key == "mount":
            kept.append("init: " + mount(value))
        elif kind == "init" and key == "fd":
            kept.append(re.sub(r":\[\d+\]", "", line))
        elif kind == "init" and key == "status":
            kept += [line] if re.match(STATUS, value) else []
        elif kind == "tool":
            command = re.sub(r" = \d+$", "", text) if text.startswith("$ ") else command
            kept.append(f"tool: {text}" if text.startswith("$ ") else f"tool: {command}: {text}")
        elif kind.startswith("hook"):
            hook += not text.startswith(" ")
            kept.append(f"{kind} {hook}: " + re.sub(r"/proc/\d+/fd/\d+|(?<=LXC_PID=)\d+", "N", text))
        elif kind != "stderr":
            kept.append(line)
    return kept


def mount(line):
    """A line of mountinfo without numbers of mounts, devices and peer groups."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    propagation = " ".join(re.sub(r":\d+", "", word) for word in fields[6:])
    return f"mount {fields[4]} of {fields[3]} {fields[5]} {propagation or 'private'} - {after}"


def differences(name, binary, init):
    """What only one of both transcripts has (`NAME - LINE` is LXC's, `NAME + LINE` ours), and what ours says of a failure."""
    (theirs, _, _), (ours, raw, log) = transcript(CONFIGS[name], None, init), transcript(CONFIGS[name], binary, init)
    found = [f"{name} - {line}" for line in (Counter(theirs) - Counter(ours)).elements()]
    found += [f"{name} + {line}" for line in (Counter(ours) - Counter(theirs)).elements()]
    return found, [line for line in raw.splitlines() if line.startswith("stderr: ")] + log.splitlines()[-TAIL_LINES:]


class Expected:
    """The rows of the file `differences`: what may differ, and why; which of them were needed."""

    def __init__(self):
        rows = [line.split("\t") for line in (HERE / "differences").read_text().splitlines() if line and line[0] != "#"]
        self.rows = [(re.compile(pattern), reason) for pattern, reason in rows]
        self.needed = set()

    def unexpected(self, found):
        """Those of the differences that no row expects."""
        wrong = []
        for line in found:
            fits = [index for index, (pattern, _) in enumerate(self.rows) if pattern.search(line)]
            self.needed.update(fits)
            wrong += [] if fits else [line]
        return wrong

    def unneeded(self):
        """The rows that no difference needed."""
        return [pattern.pattern for index, (pattern, _) in enumerate(self.rows) if index not in self.needed]
