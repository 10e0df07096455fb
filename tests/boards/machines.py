"""Boots what was flashed and logs in to the container at the machine's console."""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "qemu"))
from run import converse  # noqa: E402  (it stands in another folder)

ROOT = pathlib.Path(__file__).parent.parent.parent
# Emulation takes 10 to 25 seconds.
LIMIT = 150
# Only the answer, not the echo of what is typed, shows a result of the shell's. The container's own processes are those
# among which there is no kthreadd; its own cgroup is one that can be frozen, which the root cgroup has no file for.
TYPED = [
    ("login: ", "root"),
    ("/root # ", "echo NAME-$((40+2))-$(hostname) INIT-$(cat /proc/1/comm) KTHREADS-$(ps | grep -c '[k]threadd')"),
    ("KTHREADS-0", "mkdir /tmp/c; mount -t cgroup -o freezer c /tmp/c 2>/dev/null || mount -t cgroup2 c /tmp/c; "
                  "echo FROZEN-$(cat /tmp/c/freezer.state /tmp/c/cgroup.freeze 2>/dev/null); poweroff"),
]
WANTED = ["monopod: init: up", "Log in as root", "NAME-42-{name} INIT-init KTHREADS-0", "FROZEN-(THAWED|0)", "monopod: init: now: "]


def judge(console, in_time, name, first):
    """What is wrong with what a console showed; None if nothing is."""
    if "Kernel panic" in console:
        return "kernel panic"
    for word in [first, *(word.format(name=name) for word in WANTED)]:
        if not re.search(word, console):
            return f"it does not show: {word}"
    return None if in_time else f"no end within {LIMIT} s"


def tried(board, command, name="guest", first="U-Boot 20"):
    """Boots a machine by a command: what is wrong, None if nothing is. The console is left in out/boards/BOARD/console.log."""
    # timeout ends QEMU together with the make above it, which a kill of make alone would not.
    output, in_time = converse(["timeout", "--signal=KILL", str(LIMIT), *map(str, command)], TYPED, LIMIT + 10)
    (ROOT / "out/boards" / board / "console.log").write_bytes(output)
    return judge(output.decode(errors="replace"), in_time, name, first)


def flashed(board):
    """`make flash` to a file, `make boot`."""
    disk = ROOT / "out/boards" / board / "flashed.img"
    disk.unlink(missing_ok=True)
    flash = subprocess.run(["make", "-s", "flash", f"BOARD={board}", f"DEV={disk}"], cwd=ROOT, capture_output=True, text=True)
    if flash.returncode:
        return f"make flash: {flash.stderr.strip()}"
    wrong = tried(board, ["make", "-s", "-C", ROOT, "boot", f"BOARD={board}"])
    disk.unlink()
    return wrong


def raspberry():
    """The card of a Raspberry Pi 3 as QEMU has it: from U-Boot on, which the firmware would start."""
    out = ROOT / "out/boards/raspberrypi"
    card = out / "card.img"
    shutil.copy(out / "disk.img", card)
    # QEMU takes only cards whose size is a power of two.
    with open(card, "r+b") as file:
        file.truncate(1 << (card.stat().st_size - 1).bit_length())
    wrong = tried("raspberrypi", f"qemu-system-aarch64 -machine raspi3b -nodefaults -nographic -no-reboot "
                  f"-kernel {out}/boot/u-boot.bin -dtb {out}/boot/bcm2837-rpi-3-b.dtb "
                  f"-drive if=sd,format=raw,file={card} -serial null -serial stdio".split(), first="Starting kernel")
    card.unlink()
    return wrong


def phone():
    """What is in boot.img, beside a disk with a data partition, in QEMU's virt machine: there is no phone to emulate."""
    out = ROOT / "out/boards/halium-generic-arm64"
    disk = out / "userdata.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", "-d", out / "data", "-E", "offset=1048576", disk, "64M"],
                   check=True, capture_output=True)
    with open(disk, "r+b") as file:
        file.truncate(66 << 20)
    subprocess.run(["sfdisk", "-q", disk], input=b"label: gpt\nstart=2048, size=131072, name=userdata\n", check=True,
                   capture_output=True)
    wrong = tried("halium-generic-arm64", [
        "qemu-system-aarch64", *"-machine virt -cpu cortex-a53 -m 512 -nodefaults -nographic -no-reboot -serial stdio".split(),
        "-kernel", out / "unpacked/kernel", "-initrd", out / "unpacked/ramdisk", "-append", "console=ttyAMA0 quiet panic=-1",
        "-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk"],
        name="android", first="monopod")
    disk.unlink()
    return wrong
