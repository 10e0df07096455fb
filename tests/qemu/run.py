#!/usr/bin/env python3
"""Boots monopod on real kernels and judges each machine by what it prints on the serial console.

QEMU's exit code says nothing: it is 0 after a kernel panic too. Usage: run.py [WORD...]: those boots of which each word is
a part of the name, ARCH-NAME. `run.py --self-test` shows that what goes wrong is seen.
"""

from concurrent.futures import ThreadPoolExecutor
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import time

from boots import Boot, boots, optional

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
OUT = ROOT / "out/qemu"
TAIL_LINES = 40

EMULATED = "-accel tcg -nodefaults -no-user-config -nographic -no-reboot -smp 1 -m 256 -serial stdio -monitor none"
# Debian's name: the target, the emulator, its machine, the console. Always emulated: a /dev/kvm may exist and not work.
MACHINES = {
    "arm64": ("aarch64-unknown-linux-musl", "qemu-system-aarch64", "-machine virt -cpu cortex-a53", "ttyAMA0"),
    "armhf": ("armv7-unknown-linux-musleabihf", "qemu-system-arm", "-machine virt,highmem=off -cpu cortex-a15", "ttyAMA0"),
    "amd64": ("x86_64-unknown-linux-musl", "qemu-system-x86_64", "-machine q35 -cpu qemu64", "ttyS0"),
}


def cache(arch):
    return ROOT / f".cache/qemu/{arch}"


def kernel(arch, wanted):
    """One kernel may be enough for everything."""
    chosen = cache(arch) / wanted
    return chosen if chosen.exists() else cache(arch)


def modules(arch, boot):
    """Name and parameters of each module that a boot loads, what it depends on first. What is built in has no file."""
    def with_needs(name, given=""):
        file = kernel(arch, boot.kernel) / f"modules/{name}.ko"
        if file.exists():
            needs = re.search(rb"\0depends=([^\0]*)", file.read_bytes())
            for need in filter(None, needs[1].decode().split(",") if needs else []):
                yield from with_needs(need)
            yield name, given
    return [each for module in boot.modules for each in with_needs(*module.split(" ", 1))]


def run(arch, boot, archive):
    """Runs one machine to its end; gives its console and whether the time was enough."""
    _, emulator, machine, console = MACHINES[arch]
    words = [f"console={console} quiet panic=-1 {boot.words}"]
    words += [f'"monopod.init.modules=/modules/{name}.ko {given}"' for name, given in modules(arch, boot)]
    command = [emulator, *EMULATED.split(), *machine.split(),
               *boot.devices.format(cache=cache(arch)).split(),
               "-kernel", kernel(arch, boot.kernel) / "vmlinuz", "-initrd", archive,
               "-append", " ".join(words)]
    return converse(command, boot.typed, boot.limit)


def converse(command, typed, limit):
    """Runs an emulator at whose console each answer of `typed` is given when what it answers is seen: its output, and
    whether it ended within `limit` seconds."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as qemu:
        output, typed, seen, deadline = b"", list(typed), 0, time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([qemu.stdout], [], [], left)[0]:
                continue
            if not (piece := os.read(qemu.stdout.fileno(), 65536)):
                return output, True
            output += piece
            if typed and (at := output.find(typed[0][0].encode(), seen)) >= 0:
                seen = at + len(typed[0][0])
                qemu.stdin.write(typed.pop(0)[1].encode() + b"\n")
                qemu.stdin.flush()
        qemu.kill()
        return output, False


def judge(boot, console, in_time):
    """What is wrong with a boot; None if nothing is."""
    if "Kernel panic" in console:
        return "kernel panic"
    if re.search(boot.never, console, re.S):
        return f"it shows what it must not: {boot.never}"
    if not in_time:
        return f"no end within {boot.limit} s"
    if wanted := boot.checks():
        end = re.search(r"MARK end: (\d+) checks, (\d+) failed", console)
        if not end:
            return "the scenario did not come to its end"
        if end.groups() != (str(wanted), "0"):
            return f"{end[2]} of {end[1]} checks failed, {wanted} were to be made"
    return None if re.search(boot.end, console, re.S) else f"it does not show {boot.end}"


def missing(arch):
    """Why this machine cannot be tried; None if it can."""
    target, emulator = MACHINES[arch][:2]
    if not (ROOT / f"out/{target}/monopod").exists():
        return f"out/{target}/monopod is missing"
    if not shutil.which(emulator):
        return f"{emulator} is missing"
    fetch = subprocess.run([HERE / "fetch.sh", arch, cache(arch)])
    return "no kernel and busybox (said above)" if fetch.returncode else None


def packed(arch, boot):
    """The archive of a boot."""
    archive = OUT / f"{arch}-{boot.name}.cpio"
    monopod = ROOT / f"out/{MACHINES[arch][0]}/monopod"
    files = [kernel(arch, boot.kernel) / f"modules/{name}.ko" for name, _ in modules(arch, boot)]
    subprocess.run([HERE / "initramfs.py", boot.archive, monopod, cache(arch) / "busybox", archive, *files], check=True)
    return archive


def attempt(arch, boot):
    """What is wrong with a boot, once its result is said; None if nothing is."""
    began = time.monotonic()
    archive = packed(arch, boot)
    output, in_time = run(arch, boot, archive)
    archive.unlink()
    (OUT / f"{arch}-{boot.name}.log").write_bytes(output)
    console = output.decode(errors="replace").replace("\r", "")
    wrong = judge(boot, console, in_time)
    lines = [f"qemu {arch}-{boot.name}: {wrong or 'ok'} ({time.monotonic() - began:.0f} s)"]
    lines += ["  " + figure for figure in re.findall(r"^MARK (figure .*)", console, re.M)]
    lines += ["  | " + line for line in console.splitlines()[-TAIL_LINES:]] if wrong else []
    print("\n".join(lines), flush=True)
    return wrong


def self_test():
    """A panic, a hang, a missing word and a missing machine are failures."""
    if why := missing("arm64"):
        return f"skipped: the self-test of qemu: {why}"
    for boot, wanted in [
        (Boot("panics", words="rdinit=/nowhere"), "kernel panic"),
        (Boot("hangs", words="rdinit=/bin/busybox -- sleep 1000", limit=15), "no end within 15 s"),
        (Boot("ends-early", "machine", "monopod.init.containers=none-such monopod.init.on.failure=poweroff"), "the scenario did not"),
    ]:
        output, in_time = run("arm64", boot, packed("arm64", boot))
        wrong = judge(boot, output.decode(errors="replace"), in_time)
        if not (wrong or "").startswith(wanted):
            return f"{boot.name}: {wrong}, not: {wanted}"
    blind = subprocess.run([sys.executable, __file__, "arm64"], env={"PATH": "", "CI": "1"}, capture_output=True, text=True)
    if blind.returncode == 0 or "skipped: qemu arm64" not in blind.stdout:
        return f"without an emulator: {blind.returncode}, {blind.stdout}"
    return None


def main(words):
    OUT.mkdir(parents=True, exist_ok=True)
    if words == ["--self-test"]:
        wrong = self_test()
        print(f"qemu self-test: {wrong or 'ok'}")
        return 1 if wrong and (os.environ.get("CI") or not wrong.startswith("skipped")) else 0
    wanted, skips, known = [], 0, False
    tried = [*boots(), *(boot for boot in optional() if any(boot.name in word for word in words))]
    for arch in MACHINES:
        chosen = [boot for boot in tried if all(word in f"{arch}-{boot.name}" for word in words)]
        known |= bool(chosen)
        why = missing(arch) if chosen else None
        if why:
            skips += 1
            print(f"skipped: qemu {arch}: {why}", flush=True)
        else:
            wanted += [(arch, boot) for boot in chosen if arch not in boot.lacks]
            # No fault of this machine: such a skip never fails.
            for boot in chosen:
                if arch in boot.lacks:
                    print(f"skipped: qemu {arch}-{boot.name}: {boot.lacks[arch]}", flush=True)
    if not known:
        sys.exit(f"no boot has {' and '.join(words)} in its name")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [wrong for wrong in pool.map(lambda each: attempt(*each), wanted) if wrong]
    print(f"qemu: {len(wanted)} boots, {len(failures)} failed", flush=True)
    if skips and os.environ.get("CI"):
        sys.exit("with CI set what is skipped has failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
