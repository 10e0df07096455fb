"""What `make flash` writes to, and what it leaves alone. The disks are loop devices of these tests' own."""

from contextlib import contextmanager
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parent.parent.parent
BOARD = "rk3399"
IMAGE = ROOT / "out/boards" / BOARD / "disk.img"


def flash(dev, path=None, **given):
    """`make flash`: its exit code and all that it says."""
    words = [f"{name}={value}" for name, value in {"BOARD": BOARD, "DEV": dev, **given}.items()]
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
    run = subprocess.run(["make", "-s", "flash", *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


@contextmanager
def disk(file, size):
    """A loop device with a file of zeros behind it."""
    with open(file, "wb") as new:
        new.truncate(size)
    with loop(file) as device:
        yield device


@contextmanager
def loop(behind):
    """A loop device with a file or a disk behind it."""
    device = subprocess.run(["losetup", "--find", "--show", behind], check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def missing():
    """Why there are no loop devices to be had; None if there are."""
    if os.geteuid() != 0:
        return "loop devices take root"
    probe = subprocess.run(["losetup", "--find"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"no loop device: {probe.stderr.strip()}"


def untouched(file):
    with open(file, "rb") as held:
        return not any(held.read(1 << 20))


def loops(work):
    """Everything about disks. A failure is an AssertionError."""
    size, file = IMAGE.stat().st_size, work / "disk"
    with disk(file, size + (8 << 20)) as device:
        code, said = flash(device)
        assert code == 0 and "dry run" in said and f"of={device}" in said, said
        assert untouched(file), "a dry run wrote"

        code, said = flash(device, YES=1)
        assert code == 0 and "read them back" in said, said
        with open(IMAGE, "rb") as wanted, open(file, "rb") as written:
            assert written.read(size) == wanted.read(), "the disk does not hold the image"
            assert not any(written.read()), "something stands behind the image"

    with disk(file, size) as device:
        # A dd after which one byte is another: a bad disk.
        (work / "bad").mkdir()
        bad = work / "bad/dd"
        bad.write_text(f'#!/bin/sh\n{shlex.quote(shutil.which("dd"))} "$@" && printf x | '
                       f'{shlex.quote(shutil.which("dd"))} of={device} bs=1 seek=9000001 conv=notrunc,fsync 2>/dev/null\n')
        bad.chmod(0o755)
        code, said = flash(device, path=work / "bad", YES=1)
        assert code != 0 and "does not hold what was written" in said, said

    with disk(file, size - 512) as device:
        code, said = flash(device, YES=1)
        assert code != 0 and "the disk only" in said and untouched(file), said

    with disk(file, size) as device:
        subprocess.run(["mke2fs", "-q", device], check=True)
        (work / "mnt").mkdir()
        subprocess.run(["mount", device, work / "mnt"], check=True)
        try:
            code, said = flash(device, YES=1)
            assert code != 0 and f"is used as {work / 'mnt'}" in said, said
        finally:
            subprocess.run(["umount", work / "mnt"], check=True)

        subprocess.run(["mkswap", device], check=True, capture_output=True)
        if subprocess.run(["swapon", device], capture_output=True).returncode == 0:
            try:
                code, said = flash(device, YES=1)
                assert code != 0 and "[SWAP]" in said, said
            finally:
                subprocess.run(["swapoff", device], check=True)
        else:
            print("skipped: boards flashing a disk with swap: swapon is not allowed here", flush=True)
        with loop(device):
            code, said = flash(device, YES=1)
            assert code != 0 and "a loop device is attached" in said, said


def system_disk():
    """The disk that this system runs from."""
    source = subprocess.run(["findmnt", "-nvo", "SOURCE", "/"], capture_output=True, text=True).stdout.strip()
    parents = subprocess.run(["lsblk", "-nrpso", "NAME", source], capture_output=True, text=True).stdout.split()
    if not parents or not pathlib.Path(parents[-1]).is_block_device():
        return print("skipped: boards flashing the system disk: / is on no disk that is seen here", flush=True)
    code, said = flash(parents[-1])
    assert code != 0 and "Nothing was written" in said, said


def files(work):
    """DEV as a file, and tools that reach a board over USB."""
    code, said = flash(work / "new.img")
    assert code == 0 and (work / "new.img").read_bytes() == IMAGE.read_bytes(), said
    assert flash(work / "new.img")[0] == 0, "an earlier image was refused"
    (work / "letter").write_text("precious")
    code, said = flash(work / "letter")
    assert code != 0 and (work / "letter").read_text() == "precious", said
    code, said = flash("/dev/none-such")
    assert code != 0 and not pathlib.Path("/dev/none-such").exists(), said
    code, said = flash("rkdeveloptool")
    assert code == 0 and f"rkdeveloptool wl 0 {IMAGE.relative_to(ROOT)}" in said, said
    code, said = flash("", BOARD="halium-generic-arm64")
    assert code == 0 and "fastboot flash boot" in said, said


def all_of_it():
    """What is wrong with flashing; None if nothing is."""
    why = missing()
    try:
        with tempfile.TemporaryDirectory() as work:
            files(pathlib.Path(work))
            system_disk()
            if not why:
                loops(pathlib.Path(work))
    except AssertionError as wrong:
        return str(wrong)
    return f"skipped: {why}" if why else None
