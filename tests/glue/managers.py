"""The service managers, one class each: how its file of boards/common/boot is installed, and how one talks to it."""

import os
import pathlib
import shutil
import signal

from container import NAME
from host import wait_for
from scenarios import SCENARIOS, WITH_THE_MACHINE, hung_supervisor_is_replaced

BOOT = pathlib.Path(__file__).parent.parent.parent / "boards/common/boot"


class Manager:
    init = ()
    cgroups = "hybrid"
    # A supervisor that was killed is started again.
    revives = True
    # The commands that a person gives.
    start = stop = ()
    # One boot for all of what it must show, or one for each.
    boots_each = False
    scenarios = SCENARIOS

    def __init__(self, host):
        self.host = host

    def put(self, file, path, mode=0o755):
        """Installs a file as it is shipped."""
        self.host.write(path, (BOOT / file).read_text(), mode)

    def put_folder(self, folder, path):
        shutil.copytree(BOOT / folder, self.host.root / path.lstrip("/"))

    def says(self, *command):
        """What a command prints, None if it fails."""
        code, output = self.host.run(*command)
        return output.strip() if code == 0 else None

    def ready(self):
        """Whether the manager takes orders."""
        return True

    def failed(self):
        """After a failed start: whether the manager says so."""
        return not self.up()

    def console(self):
        return (self.host.dir / "console").read_text()

    log = console


class Systemd(Manager):
    unit = f"monopod@{NAME}"
    init = ("/lib/systemd/systemd", "--unit=basic.target")
    cgroups = "v2"
    start, stop = ("systemctl", "start", unit), ("systemctl", "stop", unit)
    scenarios = [*SCENARIOS, hung_supervisor_is_replaced]

    def install(self):
        self.put("systemd/monopod@.service", "/etc/systemd/system/monopod@.service", 0o644)
        # Half a minute is long for a test.
        self.host.write("/etc/systemd/system/monopod@.service.d/soon.conf", "[Service]\nWatchdogSec=2\n")
        self.host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.host.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        self.host.write("/etc/group", "root:x:0:\n")

    def ready(self):
        return self.state("basic.target") == "active"

    def state(self, unit):
        return self.host.run("systemctl", "is-active", unit)[1].strip()

    def up(self):
        return self.state(self.unit) == "active"

    def down(self):
        return self.state(self.unit) == "inactive"

    def failed(self):
        return self.state(self.unit) == "failed"

    def log(self):
        return self.says("journalctl", "--no-pager", "-u", self.unit)

    def shows(self, name):
        return self.says("systemctl", "show", "-P", name, self.unit)


class OpenRc(Manager):
    service = f"monopod.{NAME}"
    init = ("/sbin/openrc-init",)
    start, stop = ("rc-service", service, "start"), ("rc-service", service, "stop")

    def install(self):
        self.put("openrc/monopod", "/etc/init.d/monopod")
        (self.host.root / f"etc/init.d/{self.service}").symlink_to("monopod")
        # The machine's own services are no business of this test: what they provide is there.
        self.host.write("/etc/init.d/localmount", "#!/sbin/openrc-run\nstart() { :; }\n", 0o755)
        for link in (self.host.root / "etc/runlevels").glob("*/*"):
            link.unlink()

    def ready(self):
        return self.says("rc-status", "-r") == "default"

    def up(self):
        return "status: started" in (self.says("rc-service", self.service, "status") or "")

    def down(self):
        return self.host.run("rc-service", self.service, "status")[0] == 3

    failed = down

    def log(self):
        return (self.host.root / f"var/log/{self.service}.log").read_text()


class Runit(Manager):
    service = f"/etc/service/monopod-{NAME}"
    init = ("/sbin/runit",)
    start, stop = ("sv", "-w", "8", "start", service), ("sv", "-w", "8", "stop", service)

    def install(self):
        self.put_folder("runit/monopod-android", f"/etc/sv/monopod-{NAME}")
        (self.host.root / f"etc/sv/monopod-{NAME}/down").touch()
        # In place of Debian's runlevels.
        (self.host.root / "etc/service").unlink()
        (self.host.root / "etc/service").mkdir()
        (self.host.root / self.service.lstrip("/")).symlink_to(f"/etc/sv/monopod-{NAME}")
        self.host.write("/etc/runit/1", "#!/bin/sh\n", 0o755)
        self.host.write("/etc/runit/2", "#!/bin/sh\nexec runsvdir -P /etc/service >>/var/log/services 2>&1\n", 0o755)

    def ready(self):
        return self.down()

    def log(self):
        return (self.host.root / "var/log/services").read_text()

    def status(self):
        return self.host.run("sv", "status", self.service)[1]

    def up(self):
        return self.status().startswith("run:") and self.says("sv", "-w", "1", "check", self.service) is not None

    def down(self):
        return self.status().startswith("down:")

    failed = down


class S6(Manager):
    service = f"/service/monopod-{NAME}"
    init = ("/usr/bin/s6-svscan", "/service")
    start = ("s6-svc", "-uwU", "-T", "20000", service)
    stop = ("s6-svc", "-dwD", "-T", "20000", service)

    def install(self):
        self.put_folder("s6/monopod-android", self.service)
        (self.host.root / self.service.lstrip("/") / "down").touch()

    def ready(self):
        return self.status() == "false false"

    def status(self):
        return self.says("s6-svstat", "-o", "up,ready", self.service)

    def up(self):
        return self.status() == "true true"

    def down(self):
        return self.status() == "false false"

    failed = down


class SysV(Manager):
    init = ("/sbin/init",)
    revives = False
    start, stop = ("/etc/init.d/monopod", "start"), ("/etc/init.d/monopod", "stop")

    def install(self):
        self.put("sysv/monopod", "/etc/init.d/monopod")
        self.host.write("/etc/default/monopod", f"CONTAINERS={NAME}\n")
        self.host.write("/etc/inittab", "id:2:initdefault:\nl2:2:wait:/bin/touch /run/two\n")

    def ready(self):
        return self.says("ls", "/run/two") is not None

    def up(self):
        return self.host.run("/etc/init.d/monopod", "status") == (0, f"{NAME}: RUNNING\n")

    def down(self):
        return self.host.run("/etc/init.d/monopod", "status") == (3, f"{NAME}: STOPPED\n")

    failed = down


class Busybox(Manager):
    """Its init starts the container with the machine and stops it with the machine: both are asked for by signals."""
    init = ("/bin/busybox", "init")
    boots_each = True
    scenarios = WITH_THE_MACHINE

    def install(self):
        self.put("inittab/monopod-keep", "/usr/sbin/monopod-keep")
        lines = (BOOT / "inittab/inittab").read_text()
        self.host.write("/etc/inittab", lines.replace("android", NAME))

    def up(self):
        return self.says("monopod", "info", "-n", NAME, "-s", "-H") == "RUNNING"

    def down(self):
        return "monopod-keep" not in self.host.processes().values() and not self.up()

    def power_off(self):
        os.kill(self.host.pid, signal.SIGUSR2)
        wait_for("the machine's end", lambda: self.host.process.poll() is not None)


MANAGERS = {"systemd": Systemd, "openrc": OpenRc, "runit": Runit, "s6": S6, "sysvinit": SysV, "busybox": Busybox}
# Those whose files are shipped, but which no package registry has.
UNTRIED = {
    "dinit": "it is in no Debian 12, and nowhere else that packages come from",
    "procd": "it is OpenWrt's own, outside of OpenWrt there is none",
    "android": "Android's init runs on nothing but Android",
}
