#!/usr/bin/env python3
"""Writes the initramfs of a test machine, without root.

Usage: initramfs.py KIND MONOPOD BUSYBOX OUTPUT [MODULE...]
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


def whole(archive, monopod, busybox, modules):
    """monopod is /init and busybox /sbin/init: the kernel is told which of them is the machine's."""
    for path in ("proc", "sys", "tmp", "run", "var"):
        archive.folder(path)
    archive.console()
    archive.file("init", monopod)
    archive.link("bin/monopod", "/init")
    archive.file("bin/busybox", busybox)
    archive.link("sbin/init", "/bin/busybox")
    for name in ("inittab", "mounts", "prepare", "rc", "lib", "service", "machine", "strain", "watchdog", "kinds", "android", "recovery"):
        archive.file(f"etc/{name}", GUEST / name)
    archive.file("etc/monopod/init.conf", GUEST / "init.conf")
    for module in modules:
        archive.file(f"modules/{pathlib.Path(module).name}", module)

    archive.file("lxc/guest/config", GUEST / "container/config")
    container(archive, busybox, "stay")
    archive.file("lxc/broken/config", GUEST / "broken/config")


def container(archive, busybox, wish):
    """The container's root directory, and its wish until there is another."""
    rootfs = "lxc/guest/rootfs"
    archive.entry(f"{rootfs}/wish", stat.S_IFREG | 0o644, f"{wish}\n".encode())
    for name in ("inittab", "rc"):
        archive.file(f"{rootfs}/etc/{name}", GUEST / "container" / name)
    archive.file(f"{rootfs}/init", GUEST / "container/init")
    archive.file(f"{rootfs}/bin/busybox", busybox)
    for path in ("dev", "proc", "sys", "tmp", "sbin", "usr/bin", "usr/sbin"):
        archive.folder(f"{rootfs}/{path}")


def android(archive, monopod, busybox, modules):
    """The same, and a container with Android's fake init, which is the host's tool as well."""
    whole(archive, monopod, busybox, modules)
    archive.file("lxc/android/config", GUEST / "android.config")
    archive.file("lxc/android/rootfs/init", pathlib.Path(monopod).with_name("testinit"))
    archive.link("bin/testinit", "/lxc/android/rootfs/init")
    for path in ("acct", "apex", "data", "debug_ramdisk", "dev", "linkerconfig", "metadata", "mnt", "proc",
                 "second_stage_resources", "sys", "system/bin"):
        archive.folder(f"lxc/android/rootfs/{path}")


def least(archive, monopod, busybox, config, wish):
    """No directory of the machine's, no /dev/console, no script: all there is stands here."""
    archive.file("init", monopod)
    archive.file("bin/busybox", busybox)
    archive.link("bin/sh", "busybox")
    archive.file("var/lib/lxc/guest/config", GUEST / config)
    container(archive, busybox, wish)


KINDS = {
    "whole": whole,
    "android": android,
    "broken": lambda archive, monopod, busybox, _: least(archive, monopod, busybox, "broken/config", "poweroff"),
    "least": lambda archive, monopod, busybox, _: least(archive, monopod, busybox, "least/config", "type"),
}

if __name__ == "__main__":
    kind, monopod, busybox, output, *modules = sys.argv[1:]
    with open(output, "wb") as file:
        archive = Newc(file)
        KINDS[kind](archive, monopod, busybox, modules)
        archive.end()
