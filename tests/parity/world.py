"""A world for LXC's tools, ours or stock: namespaces and cgroups of its own, without the machine's containers."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "glue"))
from host import own_cgroups  # noqa: E402  (it stands in another folder)

# Every name that LXC's tools have; those that monopod lacks must not be found further down the PATH.
TOOLS = ("attach autostart cgroup checkconfig checkpoint config console copy create destroy device execute freeze info ls "
         "monitor snapshot start stop top unfreeze unshare update-config usernsexec wait").split()
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
# LXC's own bridge is the machine's. `up` is for the loopback.
DEFAULT_CONFIG = "lxc.net.0.type = empty\nlxc.net.0.flags = up\n"


def mount_points(mountinfo):
    """{(id, where)}. What a cgroup mount's root is called depends on who asks."""
    return {(fields[0], fields[4]) for fields in map(str.split, mountinfo.splitlines())}


class World:
    """One run of one command as a child of process 1. Everything ends with it."""

    def __init__(self, binary=None, default_config=DEFAULT_CONFIG):
        """`binary`: what stands behind the names of LXC's tools; None: LXC's own."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="parity-"))
        self.groups = []
        self.binary = binary
        (self.dir / "etc").mkdir()
        (self.dir / "etc/default.conf").write_text(default_config)
        # LXC's root asks newuidmap, too. 1000 is who starts containers without being root.
        for file in ("subuid", "subgid"):
            (self.dir / "etc" / file).write_text("root:100000:65536\nroot:1000:1\nparity:100000:65536\n")
        users = pathlib.Path("/etc/passwd").read_text() + "parity:x:1000:1000::/var/home:/bin/sh\n"
        (self.dir / "etc/passwd").write_text(users)
        self.path = SYSTEM
        if binary:
            tools = self.dir / "bin"
            tools.mkdir()
            shutil.copy(binary, tools / "monopod")
            for tool in TOOLS:
                shim = HERE / "shim" / f"lxc-{tool}"
                if shim.exists():
                    shutil.copy(shim, tools)
                else:
                    (tools / f"lxc-{tool}").symlink_to("monopod")
            self.path = f"/run/parity/bin:{SYSTEM}"

    def __enter__(self):
        self.groups = own_cgroups(self.dir.name)
        return self

    def run(self, command, seconds):
        """Runs it with a deadline. (exit code or None, output, what it left behind); LXC's own leave a cgroup each time."""
        code, output = self.dir / "code", self.dir / "output"
        code.unlink(missing_ok=True)
        into = ["unshare", "--mount", "--pid", "--uts", "--net", "--ipc", "--cgroup", "--fork", "--kill-child", "--"]
        with open(output, "wb") as out:
            first = subprocess.Popen(
                [*into, HERE / "world.sh", self.dir, *command], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
                preexec_fn=self.enter_groups, env={"PATH": self.path, "HOME": "/root", "TERM": "linux"})
        try:
            end = time.monotonic() + seconds
            while first.poll() is None and time.monotonic() < end and not code.exists():
                time.sleep(0.02)
            ended = int(code.read_text()) if code.exists() else None
            left = self.left(first.pid) if self.binary and ended is not None else []
        finally:
            first.kill()
            first.wait()
            first.stdin.close()
            self.empty()
        return ended, output.read_text(errors="replace"), left

    def enter_groups(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def left(self, first):
        """Processes, cgroups and mounts beyond process 1. What is about to end gets the time for it."""
        root = int(pathlib.Path(f"/proc/{first}/task/{first}/children").read_text())
        before = mount_points((self.dir / "mounts").read_text())
        for _ in range(100):
            names = [f"process {name}" for pid, name in self.processes().items() if pid not in (first, root)]
            names += [f"cgroup {found.relative_to(group)}" for group in self.groups for found in group.glob("**/*/")]
            mounts = mount_points(pathlib.Path(f"/proc/{root}/mountinfo").read_text())
            names += [f"mount {place}" for _, place in mounts - before]
            if not names:
                break
            time.sleep(0.02)
        return sorted(set(names))

    def processes(self):
        """{pid: name}, without those that have ended and that nobody has asked for."""
        found = {}
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                mine = any(f"/{group.name}" in (directory / "cgroup").read_text() for group in self.groups)
                if mine and "\nState:\tZ" not in (directory / "status").read_text():
                    found[int(directory.name)] = (directory / "comm").read_text().strip()
            except OSError:
                pass  # It has ended.
        return found

    def empty(self):
        """Waits until process 1 has taken everybody with it, and takes the cgroups below our own away."""
        end = time.monotonic() + 10
        while self.processes():
            if time.monotonic() > end:
                raise AssertionError(f"these outlive their process 1: {self.processes()}")
            time.sleep(0.02)
        for group in self.groups:
            for directory, _, _ in os.walk(group, topdown=False):
                if directory != str(group):
                    os.rmdir(directory)

    def __exit__(self, *_):
        try:
            self.empty()
        finally:
            for group in self.groups:
                group.rmdir()
            shutil.rmtree(self.dir)
