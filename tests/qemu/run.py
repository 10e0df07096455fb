#!/usr/bin/env python3
"""Boots monopod on real kernels, one machine after the other, and judges them by what they print on the serial console.

QEMU's exit code says nothing: it is 0 after a kernel panic too. Usage: run.py ARCH... [HIERARCHY...]; none means all.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
# Seconds for one boot with all its checks; emulation takes 20 to 40.
LIMIT = 180
TAIL_LINES = 40

# Debian's name: the target, the emulator, its machine, the console. Always emulated: a /dev/kvm may exist and not work.
MACHINES = {
    "arm64": ("aarch64-unknown-linux-musl", "qemu-system-aarch64", "-machine virt -cpu cortex-a53", "ttyAMA0"),
    "armhf": ("armv7-unknown-linux-musleabihf", "qemu-system-arm", "-machine virt -cpu cortex-a15", "ttyAMA0"),
    "amd64": ("x86_64-unknown-linux-musl", "qemu-system-x86_64", "-machine q35 -cpu qemu64", "ttyS0"),
}
# What the kernel must be told for each; guest/mounts does the rest.
HIERARCHIES = {"v1": "", "v2": "cgroup_no_v1=all", "hybrid": ""}


def boot(arch, hierarchy, initramfs):
    """Runs one machine to its end; gives its console and whether the time was enough."""
    _, emulator, machine, console = MACHINES[arch]
    command = [emulator, *"-accel tcg -nodefaults -no-user-config -nographic -no-reboot -smp 1 -m 256".split(),
               *"-serial stdio -monitor none".split(), *machine.split(),
               "-kernel", ROOT / f".cache/qemu/{arch}/vmlinuz", "-initrd", initramfs,
               "-append", f"console={console} quiet panic=-1 HIERARCHY={hierarchy} {HIERARCHIES[hierarchy]}"]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               timeout=LIMIT)
        return ended.stdout, True
    except subprocess.TimeoutExpired as expired:
        return expired.stdout or b"", False


def judge(console, in_time):
    """What is wrong with a boot; None if nothing is."""
    wanted = len(re.findall(r"^check [a-z]", (HERE / "guest/scenario").read_text(), re.MULTILINE))
    if "Kernel panic" in console:
        return "kernel panic"
    if not in_time:
        return f"no end within {LIMIT} s"
    end = re.search(r"MARK end: (\d+) checks, (\d+) failed", console)
    if not end:
        return "the scenario did not come to its end"
    if end.groups() != (str(wanted), "0"):
        return f"{end[2]} of {end[1]} checks failed, {wanted} were to be made"
    return None


def fetched(arch):
    """Why this machine cannot be tried; None if it can."""
    target, emulator = MACHINES[arch][:2]
    if not (ROOT / f"out/{target}/monopod").exists():
        return f"out/{target}/monopod is missing"
    if subprocess.run(["which", emulator], stdout=subprocess.DEVNULL).returncode:
        return f"{emulator} is missing"
    fetch = subprocess.run([HERE / "fetch.sh", arch, ROOT / f".cache/qemu/{arch}"])
    return "no kernel and busybox (said above)" if fetch.returncode else None


def main(words):
    failures = skips = 0
    (ROOT / "out/qemu").mkdir(parents=True, exist_ok=True)
    for arch in [word for word in words if word in MACHINES] or MACHINES:
        if why := fetched(arch):
            skips += 1
            print(f"skipped: qemu {arch}: {why}", flush=True)
            continue
        initramfs = ROOT / f"out/qemu/{arch}.cpio"
        monopod = ROOT / f"out/{MACHINES[arch][0]}/monopod"
        subprocess.run([HERE / "initramfs.py", monopod, ROOT / f".cache/qemu/{arch}/busybox", initramfs], check=True)
        for hierarchy in [word for word in words if word in HIERARCHIES] or HIERARCHIES:
            began = time.monotonic()
            output, in_time = boot(arch, hierarchy, initramfs)
            (ROOT / f"out/qemu/{arch}-{hierarchy}.log").write_bytes(output)
            console = output.decode(errors="replace").replace("\r", "")
            wrong = judge(console, in_time)
            print(f"qemu {arch} {hierarchy}: {wrong or 'ok'} ({time.monotonic() - began:.0f} s)", flush=True)
            if wrong:
                failures += 1
                print("\n".join("  | " + line for line in console.splitlines()[-TAIL_LINES:]), flush=True)
    if skips and os.environ.get("CI"):
        sys.exit("with CI set what is skipped has failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
