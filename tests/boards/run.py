#!/usr/bin/env python3
"""Makes the image of each board and looks into it; boots those that QEMU has a machine for; flashes to loop devices.

Usage: run.py [BOARD...]: these only; all without. With CI=1 what is skipped has failed.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import flashing
import images
import machines

ROOT = pathlib.Path(__file__).parent.parent.parent
BOARDS = sorted(path.parent.name for path in (ROOT / "boards").glob("*/board.mk"))
# The machine of QEMU's that a board is tried in, and how.
EMULATED = {
    "qemu-virt-aarch64": ("qemu-system-aarch64", lambda: machines.flashed("qemu-virt-aarch64")),
    "qemu-virt-armv7": ("qemu-system-arm", lambda: machines.flashed("qemu-virt-armv7")),
    "qemu-q35-x86_64": ("qemu-system-x86_64", lambda: machines.flashed("qemu-q35-x86_64")),
    "raspberrypi": ("qemu-system-aarch64", machines.raspberry),
    "halium-generic-arm64": ("qemu-system-aarch64", machines.phone),
}


def variable(board, name):
    """What board.mk sets a variable to."""
    print_it = f"print-it: ; @echo $({name})"
    return images.output("make", "-s", f"--eval={print_it}", "print-it", f"BOARD={board}").decode().strip()


def image(board, *given):
    """`make image` and a look into it: what is wrong, and what was seen."""
    made = subprocess.run(["make", "-s", "image", f"BOARD={board}", *given], cwd=ROOT, capture_output=True, text=True)
    if made.returncode:
        return made.stderr.strip()[-600:], ""
    bits = dict(word.split("=") for word in given)
    triple, arch = ((variable(board, name) if not bits else {"BOARD_TRIPLE": "armv7-unknown-linux-musleabihf", "BOARD_ARCH": "armhf"}[name])
                    for name in ("BOARD_TRIPLE", "BOARD_ARCH"))
    try:
        return None, images.check(board, triple, arch)
    except AssertionError as wrong:
        return f"{board}: {wrong}", ""


def timed(name, function):
    """Does one test and says its result, which it also gives: "ok", "failed" or "skipped"."""
    began = time.monotonic()
    wrong, seen = function()
    skipped = wrong and wrong.startswith("skipped: ")
    if skipped:
        print(f"skipped: boards {name}: {wrong.removeprefix('skipped: ')}", flush=True)
        return "skipped"
    print(f"boards {name}: {wrong or 'ok'} ({time.monotonic() - began:.0f} s{', ' * bool(seen)}{seen})", flush=True)
    return "failed" if wrong else "ok"


def boot(board):
    emulator, tried = EMULATED[board]
    if not shutil.which(emulator):
        return f"skipped: {emulator} is missing", ""
    return tried(), f"out/boards/{board}/console.log"


def main(chosen):
    results = []
    for board in chosen or BOARDS:
        if board == "raspberrypi":
            results.append(timed(f"{board} image, 32 bit", lambda: image("raspberrypi", "BITS=32")))
        results.append(timed(f"{board} image", lambda: image(board)))
        if board in EMULATED and results[-1] == "ok":
            results.append(timed(f"{board} boot", lambda: boot(board)))
    if flashing.IMAGE.exists() and not chosen:
        results.append(timed("flashing", lambda: (flashing.all_of_it(), "")))
    failed, skipped = results.count("failed"), results.count("skipped")
    print(f"boards: {len(results)} tests, {failed} failed, {skipped} skipped")
    return 1 if failed or (skipped and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
