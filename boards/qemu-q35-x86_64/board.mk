BOARD_TITLE    := QEMU's "q35" PC with an x86-64 processor
BOARD_TRIPLE   := x86_64-unknown-linux-musl
BOARD_ARCH     := amd64
BOARD_CONSOLE  := ttyS0
BOARD_LOADER   := u-boot-qemu
BOARD_MODULES  := virtio_pci virtio_blk ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
BOARD_EMULATOR := qemu-system-x86
BOARD_QEMU      = qemu-system-x86_64 -machine q35 -cpu qemu64 -m 512 -device virtio-blk-pci,drive=disk \
  -bios $(PACKAGES)/u-boot-qemu/usr/lib/u-boot/qemu-x86_64/u-boot.rom
