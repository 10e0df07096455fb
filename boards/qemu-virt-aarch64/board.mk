BOARD_TITLE    := QEMU's "virt" machine with a 64-bit ARM processor
BOARD_TRIPLE   := aarch64-unknown-linux-musl
BOARD_ARCH     := arm64
BOARD_CONSOLE  := ttyAMA0
BOARD_LOADER   := u-boot-qemu
# QEMU hands its own device tree to U-Boot, and U-Boot to the kernel.
BOARD_DTBS     :=
BOARD_MODULES  := virtio_pci virtio_mmio virtio_blk ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
BOARD_EMULATOR := qemu-system-arm
BOARD_QEMU      = qemu-system-aarch64 -machine virt -cpu cortex-a53 -m 512 -device virtio-blk-pci,drive=disk \
  -bios $(PACKAGES)/u-boot-qemu/usr/lib/u-boot/qemu_arm64/u-boot.bin
