"""The same small config started by LXC's own tools and by ours: every line of what init, hooks and users see, compared."""

from collections import Counter
import ctypes
import pathlib
import re
import shutil

from configs import CONFIGS
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
# What an init does that looks before it reports.
PROBE = """exec >/mnt/probe 2>&1
{}
exec >/dev/null
exec /init report , signals 99
"""
# That of whoever starts the containers: keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING), of x86_64.
SESSION_KEYRING = ctypes.CDLL(None).syscall(250, 0, -3, 0)
# What of /proc/self/status is a container's doing.
STATUS = "Cap|NoNewPrivs|Seccomp|Sig(Pnd|Blk|Ign|Cgt)|Uid|Gid|Groups|Umask|NSpid"


def transcript(name, binary, init):
    """The lines of one life, without what differs from run to run."""
    with World(binary) as world:
        files = world.dir / "twin"
        files.mkdir()
        for file in (init, HERE / "hook", HERE / "links.py"):
            shutil.copy(file, files / ("init" if file == init else file.name))
        shutil.copy(HERE / "twin.sh", world.dir)
        twin = CONFIGS[name]
        config = BASE if twin.base else BASE.replace("lxc.pty.max = 16\n", "")
        config += "\n".join(map(str.strip, twin.config.splitlines())) + "\n"
        if twin.probe:
            config += "lxc.init.cmd = /bin/sh /probe\n"
            (files / "probe").write_text(PROBE.format(twin.probe))
        (files / "config").write_text(config.replace("$twin", "/run/parity/twin"))
        for part in ("host", "outside", "after", "caller", "user"):
            if getattr(twin, part):
                (files / part).write_text(getattr(twin, part))
        life = "short" if twin.short else "whole"
        code, output, left = world.run(["/run/parity/twin.sh", life, *twin.options.split()], SECONDS)
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
        elif kind == "init" and key == "session keyring":
            kept.append(f"init: session keyring {'shared' if int(value) == SESSION_KEYRING else 'own'}")
        elif kind == "init" and key == "fd":
            kept.append(re.sub(r":\[\d+\]", "", line))
        elif kind == "init" and key == "status":
            if re.match("SigIgn", value):
                # make may have 32 and 33 ignored, which the C library keeps for itself and nobody here can reset.
                line = f"init: status: SigIgn: {int(value.split()[1], 16) & ~(3 << 31):x}"
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
    (theirs, _, _), (ours, raw, log) = transcript(name, None, init), transcript(name, binary, init)
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
