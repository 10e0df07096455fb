BOARD_TITLE    := QEMU's "q35" PC with an x86-64 processor
BOARD_TRIPLE   := x86_64-unknown-linux-musl
BOARD_ARCH     := amd64
BOARD_CONSOLE  := ttyS0
BOARD_LOADER   := u-boot-qemu
# U-Boot leaves the ACPI tables of this machine unfit for use (README.md), so that the kernel does without.
BOARD_BOOT     := script
BOARD_INITRAMFS_ADDRESS := 0x10000000
BOARD_MODULES  := ahci sd_mod ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
BOARD_EMULATOR := qemu-system-x86
BOARD_QEMU      = qemu-system-x86_64 -machine q35 -cpu qemu64 -m 512 -device ide-hd,drive=disk,bus=ide.0 \
  -bios $(PACKAGES)/u-boot-qemu/usr/lib/u-boot/qemu-x86/u-boot.rom
