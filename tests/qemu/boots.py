"""The machines that are tried: what each boots with, what is done at its console, how it must end."""

from dataclasses import dataclass, field
import pathlib
import re

GUEST = pathlib.Path(__file__).parent / "guest"
# Of this name a machine's log, `make test-qemu QEMU=...` and the list of results know it: ARCH-NAME.
HIERARCHIES = ("v1", "v2", "hybrid")
# What the kernel must be told for each, when it does not follow from what is mounted.
NO_V1 = {"v2": "cgroup_no_v1=all"}
# The end of a machine whose init monopod is; the kernel turns it off afterwards.
OFF = r"monopod: init: now: poweroff"


@dataclass
class Boot:
    name: str
    # The script of guest/ that makes the checks.
    scenario: str = ""
    # The kernel command line's own words.
    words: str = ""
    # What the console must show in the end, and must not show at all.
    end: str = ""
    never: str = r"Kernel panic"
    # In turn: what is waited for, what is typed then.
    typed: list = field(default_factory=list)
    # Files of the kernel's that process 1 loads, after what they depend on; with their parameters.
    modules: list = field(default_factory=list)
    # Devices that the emulator adds.
    devices: str = ""
    kernel: str = "."
    # Kinds of machine that cannot have it, and why.
    lacks: dict = field(default_factory=dict)
    archive: str = "whole"
    # Seconds for all of it. Emulation takes 5 to 40.
    limit: int = 180

    def checks(self):
        """How many checks its scenario makes."""
        return len(re.findall(r"^check [a-z]", (GUEST / self.scenario).read_text(), re.M)) if self.scenario else 0


def machine(name, hierarchy, scenario="machine", words="", **more):
    """A boot with monopod as process 1 and a scenario beside it."""
    words = f"HIERARCHY={hierarchy} SCENARIO={scenario} monopod.init.cgroup={hierarchy} monopod.init.rc=/etc/rc {words}"
    return Boot(name, scenario, f"{words} {NO_V1.get(hierarchy, '')}", **{"end": OFF, **more})


def watchdog(name, hierarchy, wish, **more):
    """A watchdog of 4 seconds that must bite, or must not."""
    words = f"WISH={wish} monopod.init.watchdog=always monopod.init.watchdog.timeout=4"
    return machine(name, hierarchy, "watchdog", words, **{"modules": ["softdog"], **more})


def boots():
    """All of them, for each kind of machine."""
    for each in HIERARCHIES:
        yield Boot(f"service-{each}", "service", f"rdinit=/sbin/init HIERARCHY={each} {NO_V1.get(each, '')}", end="MARK end")
    for each in HIERARCHIES:
        yield machine(f"init-{each}", each)
    # Letters of sysrq that the guest would write: they kill every process, remount every filesystem, crash the kernel.
    for each in ("v1", "v2"):
        words = f"rdinit=/sbin/init SCENARIO=android HIERARCHY={each} security=selinux selinux=1 {NO_V1.get(each, '')}"
        yield Boot(f"android-{each}", "android", words, end="MARK end", archive="android", limit=120,
                   never=r"Kernel panic|sysrq: (Kill|Emergency|Trigger|Terminate)")
    yield machine("android-recovery", "v1", "recovery", "monopod.init.containers=android", archive="android",
                  end=r"MARK end.*reboot: Restarting system with command 'recovery'")
    # The first line says what is wrong, with its place; then a person mends it.
    yield Boot(
        "broken-config",
        archive="broken",
        end=r"/config:2: lxc.tty.max.*emergency shell: exit to try again.*shell-42.*guest: halted: poweroff.*" + OFF,
        never=r"Kernel panic|config:2: .*config:2: ",
        typed=[("/ # ", "echo shell-$((40+2))"),
               ("shell-42\r\n", "busybox sed -i s/4x/4/ /var/lib/lxc/guest/config; exit")],
    )
    # Nothing but process 1 and the container: the figures, and what a person types reaches the container.
    yield Boot(
        "console",
        archive="least",
        words="lxc.uts.name=named-by-the-kernel",
        end=r"MARK typed: opensesame on named-by-the-kernel.*" + OFF,
        typed=[("MARK type a word", "opensesame")],
    )
    yield machine("strain", "v2", "strain", "ORPHANS=4000", limit=400)
    bites = r"MARK waiting.*softdog: Initiating system reboot"
    yield watchdog("watchdog-loop-frozen", "v1", "freeze", end=bites, never=r"Kernel panic|init: now:")
    yield watchdog("watchdog-supervisor-stopped", "v2", "stop", end=bites, never=r"Kernel panic|init: now:")
    yield watchdog("watchdog-all-live", "v2", "live", end=OFF, never=r"Kernel panic|Initiating system reboot")
    # A device instead of a timer of the kernel's: it resets the machine without a word.
    yield watchdog("watchdog-hardware", "v1", "freeze", end=r"MARK waiting\s*$", never=r"Kernel panic|init: now:",
                   modules=["i6300esb"], devices="-device i6300esb -action watchdog=reset", kernel="full",
                   lacks={"armhf": "Debian's kernel for it has no driver i6300esb; softdog stands for it"})
    # Loaded before what it depends on: the kernel's "No such file" is about a symbol.
    yield Boot("module-alone", kernel="full", modules=["ext4"], words="monopod.init.modules=/modules/ext4.ko",
               end=r"module: /modules/ext4.ko: needs another module.*reboot: Power down",
               typed=[("/ # ", "busybox poweroff -f")])
    binder = ["binder_linux devices=binder,hwbinder,vndbinder"]
    yield machine("binder", "hybrid", "kinds", "WISH=binder", modules=binder, kernel="full")
    # Debian's kernels have no binderfs: the guest gets the module's nodes, without an entry of the config that binds them.
    yield machine("binder-nodes", "v1", "kinds", "WISH=binder monopod.binder=own lxc.mount.entry=", modules=binder, kernel="full")
    yield machine("selinux", "v1", "kinds", "WISH=selinux security=selinux selinux=1")
    yield machine("apparmor", "v2", "kinds", "WISH=apparmor security=apparmor")
    # Labels that need no policy: a context that every kernel has, and the unconfined profile of a namespace of profiles.
    yield machine("selinux-context", "v2", "kinds", "WISH=context security=selinux selinux=1 lxc.selinux.context=unlabeled")
    yield machine("apparmor-profile", "v1", "kinds",
                  "WISH=profile security=apparmor lxc.apparmor.profile=:guest://unconfined")


def optional():
    """What takes longer to make ready than all of the others to run."""
    life = r"MARK life {}: virt lxc, init systemd, state (starting|running), failed 0\s+MARK life {}: 0::/init.scope, units in /system.slice/lives.service.*"
    yield Boot(
        "systemd",
        words="monopod.init.containers=debian monopod.init.lxcpath=/data monopod.init.cgroup=v2 cgroup_no_v1=all "
              '"monopod.init.mount=/dev/vda /data ext4"',
        modules=["virtio_mmio", "virtio_blk"],
        devices="-smp 2 -m 512 -drive if=none,id=disk,format=raw,snapshot=on,file={cache}/systemd.ext4 "
                "-device virtio-blk-device,drive=disk",
        end=life.format(1, 1) + life.format(2, 2) + OFF,
    )
