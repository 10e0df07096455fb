"""The container of the tests: a busybox system that obeys a file, and what can be seen of it from outside."""

import os
import pathlib
import shutil

from host import wait_for

NAME = "box"
HOME = f"/var/lib/lxc/{NAME}"

CONFIG = f"""\
lxc.rootfs.path = {HOME}/rootfs
lxc.init.cmd = /init
lxc.hook.pre-start = {HOME}/gate
"""

# One line in /lives for each life, one in /ends for each halt that was asked for.
INIT = """\
#!/bin/busybox sh
trap 'echo asked >>/ends; busybox poweroff -f' PWR
echo alive >>/lives
while :; do
    if read -r order 2>/dev/null </order; then
        busybox rm /order
        case $order in exit*) $order ;; *) busybox $order -f ;; esac
    fi
    busybox sleep 0.05
done
"""

# A start waits here as long as the gate is closed.
GATE = f"""\
#!/bin/sh
: >{HOME}/waits
while [ -e {HOME}/closed ]; do sleep 0.05; done
rm {HOME}/waits
"""


class Container:
    def __init__(self, host):
        self.host = host
        self.home = host.root / HOME.lstrip("/")
        host.write(f"{HOME}/config", CONFIG)
        host.write(f"{HOME}/gate", GATE, 0o755)
        host.write(f"{HOME}/rootfs/init", INIT, 0o755)
        rootfs = self.home / "rootfs"
        for directory in ("bin", "dev", "proc", "sys", "tmp"):
            (rootfs / directory).mkdir()
        shutil.copy(host.root / "bin/busybox", rootfs / "bin/busybox")

    def lines(self, name):
        file = self.home / "rootfs" / name
        return len(file.read_text().splitlines()) if file.exists() else 0

    def lives(self):
        return self.lines("lives")

    def order(self, text):
        """Written beside and renamed, so that no half of it is read."""
        (self.home / "rootfs/order.new").write_text(text + "\n")
        os.rename(self.home / "rootfs/order.new", self.home / "rootfs/order")

    def close_gate(self):
        (self.home / "closed").touch()

    def open_gate(self):
        (self.home / "closed").unlink()

    def waits_at_the_gate(self):
        return (self.home / "waits").exists()

    def supervisor(self):
        """Pid of the supervisor, None if there is not exactly one."""
        def is_supervisor(pid):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                return words[1:2] == [b"start"] and os.readlink(f"/proc/{pid}/ns/pid") == self.host_namespace()
            except OSError:
                return False
        pids = [pid for pid, name in self.host.processes().items() if name == "monopod" and is_supervisor(pid)]
        return pids[0] if len(pids) == 1 else None

    def host_namespace(self):
        return os.readlink(f"/proc/{self.host.pid}/ns/pid")

    def left(self):
        """One line for each thing of the container that is there."""
        root = pathlib.Path(f"/proc/{self.host.pid}/root")
        left = [f"process {pid} {name}" for pid, name in self.host.processes().items() if name == "monopod"]
        for group in self.host.groups:
            for directory in group.glob("**/lxc"):
                left.append(f"cgroup {directory}")
        left += [f"mount {line}" for line in open(f"/proc/{self.host.pid}/mountinfo") if HOME in line]
        left += [f"state {path}" for path in root.glob("run/monopod/*")]
        return left

    def assert_nothing_left(self):
        try:
            wait_for("nothing", lambda: not self.left(), limit=2)
        except AssertionError:
            raise AssertionError("left behind: " + ", ".join(self.left())) from None
