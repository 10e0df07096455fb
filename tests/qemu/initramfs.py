#!/usr/bin/env python3
"""Writes the initramfs of a test machine, without root: busybox is its init, monopod an ordinary program on it.

Usage: initramfs.py MONOPOD BUSYBOX OUTPUT
"""

import pathlib
import stat
import sys

GUEST = pathlib.Path(__file__).parent / "guest"


class Newc:
    """A cpio archive in the "newc" format (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self, output):
        self.output = output
        self.inode = 0
        self.folders = set()

    def entry(self, path, mode, data=b"", device=(0, 0)):
        """One entry. Its parents come first, because the kernel makes none by itself."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self.folders:
            self.folders.add(parent)
            self.entry(parent, stat.S_IFDIR | 0o755)
        self.inode += 1
        name = path.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device of the file (2), device of the node (2), name's size, checksum
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        self.padded(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        self.padded(data)

    def padded(self, data):
        self.output.write(data + b"\0" * (-len(data) % 4))

    def folder(self, path, mode=0o755):
        if path not in self.folders:
            self.folders.add(path)
            self.entry(path, stat.S_IFDIR | mode)

    def file(self, path, source):
        self.entry(path, stat.S_IFREG | 0o755, pathlib.Path(source).read_bytes())

    def link(self, path, target):
        self.entry(path, stat.S_IFLNK | 0o777, target.encode())

    def console(self):
        """The kernel opens it for init before anything can mount devtmpfs."""
        self.entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def end(self):
        self.inode = -1
        self.entry("TRAILER!!!", 0)


def write(archive, monopod, busybox):
    for path in ("proc", "sys", "tmp", "run", "var"):
        archive.folder(path)
    archive.console()
    archive.link("init", "bin/busybox")
    archive.file("bin/busybox", busybox)
    archive.file("bin/monopod", monopod)
    for name in ("inittab", "mounts", "scenario"):
        archive.file(f"etc/{name}", GUEST / name)

    archive.file("lxc/guest/config", GUEST / "container/config")
    rootfs = "lxc/guest/rootfs"
    for name in ("inittab", "rc"):
        archive.file(f"{rootfs}/etc/{name}", GUEST / "container" / name)
    archive.file(f"{rootfs}/bin/busybox", busybox)
    archive.link(f"{rootfs}/init", "bin/busybox")
    for path in ("dev", "proc", "sys", "tmp"):
        archive.folder(f"{rootfs}/{path}")

    archive.file("lxc/broken/config", GUEST / "broken/config")
    archive.end()


if __name__ == "__main__":
    monopod, busybox, output = sys.argv[1:]
    with open(output, "wb") as file:
        write(Newc(file), monopod, busybox)
