"""What must be in the image of each board, read with the tools that others would read it with."""

import pathlib
import re
import json
import subprocess

ROOT = pathlib.Path(__file__).parent.parent.parent
# Boot loaders that stand beside the partitions: the offset, the file in Debian's package, the place and bytes by which the
# SoC's ROM (or the stage before) knows it.
LOADERS = {
    "rk3399": [(32 << 10, "u-boot-rockchip/usr/lib/u-boot/rockpro64-rk3399/idbloader.img", 0, b"\x3b\x8c\xdc\xfc"),
               (8 << 20, "u-boot-rockchip/usr/lib/u-boot/rockpro64-rk3399/u-boot.itb", 0, b"\xd0\x0d\xfe\xed")],
    "pinephone": [(8 << 10, "u-boot-sunxi/usr/lib/u-boot/pinephone/sunxi-spl.bin", 4, b"eGON.BT0"),
                  (40 << 10, "u-boot-sunxi/usr/lib/u-boot/pinephone/u-boot-sunxi-with-spl.fit.itb", 0, b"\xd0\x0d\xfe\xed")],
    "beaglebone": [(128 << 10, "u-boot-omap/usr/lib/u-boot/am335x_evm/MLO", 20, b"CHSETTINGS"),
                   (384 << 10, "u-boot-omap/usr/lib/u-boot/am335x_evm/u-boot.img", 0, b"\xd0\x0d\xfe\xed")],
}
# What stands in the boot partition beside kernel and initramfs.
BOOT_FILES = {
    "qemu-q35-x86_64": ["boot.scr"],
    "raspberrypi": ["config.txt", "bootcode.bin", "start.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb", "extlinux/extlinux.conf"],
    "rk3399": ["dtb/rockchip/rk3399-rockpro64.dtb", "extlinux/extlinux.conf"],
    "pinephone": ["dtb/allwinner/sun50i-a64-pinephone-1.2.dtb", "extlinux/extlinux.conf"],
    "beaglebone": ["dtb/am335x-boneblack.dtb", "extlinux/extlinux.conf"],
}


def output(*command, **more):
    """What a command says; what goes wrong with it is an AssertionError."""
    run = subprocess.run(command, capture_output=True, cwd=ROOT, **more)
    assert run.returncode == 0, f"{' '.join(map(str, command))}: {run.stderr.decode(errors='replace').strip()[-300:]}"
    return run.stdout


def check(board, triple, arch):
    """Looks at everything that `make image` left of a board. Gives a word about what was seen."""
    out = ROOT / "out/boards" / board
    initramfs(out / "initramfs.cpio.gz", ROOT / f"out/{triple}/monopod")
    if (out / "boot.img").exists():
        return android(out)
    return disk(board, out, ROOT / ".cache/boards" / arch)


def initramfs(archive, monopod):
    unpacked = output("zcat", archive)
    assert output("cpio", "-i", "--quiet", "--to-stdout", "init", input=unpacked) == monopod.read_bytes(), "/init is not monopod"
    settings = output("cpio", "-i", "--quiet", "--to-stdout", "etc/monopod/init.conf", input=unpacked).decode()
    names = output("cpio", "-t", "--quiet", input=unpacked).decode().split()
    for module in re.findall(r"^monopod.init.modules = /(\S+)", settings, re.M):
        assert module in names, f"{module} is not in the initramfs"
    assert "monopod.init.mount = PARTLABEL=" in settings


def disk(board, out, packages):
    image = out / "disk.img"
    table = json.loads(output("sfdisk", "--json", image))["partitiontable"]
    assert table["label"] == "gpt"
    boot, data = table["partitions"]
    assert (boot["name"], data["name"]) == ("boot", "monopod-data"), table
    assert "LegacyBIOSBootable" in boot["attrs"], "U-Boot looks at partitions that are marked bootable"
    with open(image, "rb") as file:
        for offset, name, at, magic in LOADERS.get(board, []):
            wanted = (packages / name).read_bytes()
            assert wanted[at:].startswith(magic), f"{name} is no boot loader"
            file.seek(offset)
            assert file.read(len(wanted)) == wanted, f"{name} is not at {offset}"
            assert offset + len(wanted) <= boot["start"] * 512, f"{name} reaches into the first partition"
        if board == "raspberrypi":
            file.seek(446 + 4)
            assert file.read(1) == b"\x0c", "the MBR has no FAT partition for the Raspberry Pi 3"
        # Each partition as a file of its own, for the tools that know no offset.
        for partition, name in ((boot, "boot.check"), (data, "data.check")):
            file.seek(partition["start"] * 512)
            (out / name).write_bytes(file.read(partition["size"] * 512))

    fat, ext4 = out / "boot.check", out / "data.check"
    output("fsck.vfat", "-n", fat)
    for name in ["vmlinuz", "initramfs.cpio.gz", *BOOT_FILES.get(board, ["extlinux/extlinux.conf"])]:
        assert output("mtype", "-i", fat, f"::/{name}") == (out / "boot" / name).read_bytes(), f"{name} differs"
    output("e2fsck", "-fn", ext4)
    config = output("debugfs", "-R", "cat /lxc/guest/config", ext4)
    assert config == (out / "data/lxc/guest/config").read_bytes()
    assert b"Type: regular" in output("debugfs", "-R", "stat /lxc/guest/rootfs/bin/busybox", ext4)
    assert b"User:     0   Group:     0" in output("debugfs", "-R", "stat /lxc/guest/rootfs/bin/busybox", ext4)
    fat.unlink()
    ext4.unlink()
    return f"{image.stat().st_size >> 20} MB, {len(LOADERS.get(board, []))} loaders at their offsets"


def android(out):
    parts = out / "unpacked"
    output("unpack_bootimg", "--boot_img", out / "boot.img", "--out", parts)
    assert (parts / "ramdisk").read_bytes() == (out / "initramfs.cpio.gz").read_bytes(), "another initramfs is in boot.img"
    assert output("zcat", input=(parts / "kernel").read_bytes())[56:60] == b"ARM\x64", "its kernel is no arm64 Image"
    names = output("tar", "-tzf", out / "container.tar.gz").decode().split()
    assert {"lxc/android/config", "lxc/android/rootfs/init"} <= set(names)
    return f"boot.img of {(out / 'boot.img').stat().st_size >> 20} MB, its kernel and initramfs unpacked"
