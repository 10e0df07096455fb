"""A small host: a tree of files, booted with a service manager as process 1 of namespaces and cgroups of its own."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).parent
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# Nothing takes this long unless it hangs.
DEADLINE = 30


def wait_for(what, ready, limit=DEADLINE):
    """Polls until `ready()` is true, and gives what it gave."""
    end = time.monotonic() + limit
    while not (result := ready()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit} s for {what}")
        time.sleep(0.02)
    return result


def own_cgroups(name):
    """Makes a group below our own in every hierarchy: {mount point: group}."""
    mounts = {}
    for line in open("/proc/self/mountinfo"):
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.split()
        if kind in ("cgroup", "cgroup2"):
            words = [word for word in options.split(",") if word not in ("rw", "ro", "xattr")] if kind == "cgroup" else []
            mounts[",".join(words)] = pathlib.Path(fields.split()[4])
    groups = []
    for line in open("/proc/self/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if controllers in mounts:
            group = mounts[controllers] / path.lstrip("/") / f"{name}-{os.getpid()}"
            group.mkdir()
            # A new cpuset may hold nobody until it has both.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if "cpuset" in controllers:
                    (group / file).write_text((group.parent / file).read_text())
            groups.append(group)
    return groups


class Host:
    def __init__(self, name, tree, monopod):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"glue-{name}-"))
        self.root = self.dir / "root"
        self.groups, self.process, self.pid = [], None, None
        self.name = f"glue-{name}"
        subprocess.run(["cp", "-a", "--reflink=auto", tree, self.root], check=True)
        shutil.copy(monopod, self.root / "usr/sbin/monopod")
        for directory in ("proc", "sys", "dev", "run", "tmp", "root", "var/log", "etc"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def boot(self, init, cgroups):
        self.groups = own_cgroups(self.name)
        command = ["unshare", "--mount", "--pid", "--uts", "--net", "--ipc", "--cgroup", "--fork", "--kill-child",
                   HERE / "boot.sh", self.root, cgroups, *init]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(self.dir / "console", "ab"),
                                        stderr=subprocess.STDOUT, preexec_fn=self.enter_groups, env=self.environment())
        wait_for("the host's init", (self.root / "booted").exists)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        self.pid = int(open(children).read())

    def enter_groups(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def enter_tools(self):
        """A manager on v2 may need its own group for groups only: tools have one beside it."""
        for group in self.groups:
            (group if (group / "tasks").exists() else group / "tools").joinpath("cgroup.procs").write_text("0")

    def environment(self):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "container": "glue"}

    def spawn(self, *command):
        """Starts a command inside."""
        for group in self.groups:
            if not (group / "tasks").exists():
                (group / "tools").mkdir(exist_ok=True)
        into = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-n", "-i", "-C", "-r", "-w", "--"]
        return subprocess.Popen([*into, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.STDOUT, preexec_fn=self.enter_tools, env=self.environment())

    def run(self, *command):
        """Runs a command inside: its exit code and what it printed."""
        with self.spawn(*command) as process:
            try:
                output, _ = process.communicate(timeout=DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{' '.join(command)} takes more than {DEADLINE} s") from None
        return process.returncode, output

    def processes(self):
        """{pid: command name} of this host and its containers, as the outside counts pids."""
        found = {}
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if any(f"/{group.name}" in (directory / "cgroup").read_text() for group in self.groups):
                    found[int(directory.name)] = (directory / "comm").read_text().strip()
            except OSError:
                pass  # It has ended.
        return found

    def close(self):
        if self.pid and self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait()
        try:
            wait_for("the end of its processes", lambda: not self.processes())
        finally:
            for group in self.groups:
                for directory, _, _ in os.walk(group, topdown=False):
                    os.rmdir(directory)
            shutil.rmtree(self.dir)
