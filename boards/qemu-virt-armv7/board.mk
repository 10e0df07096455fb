BOARD_TITLE    := QEMU's "virt" machine with a 32-bit ARM processor
BOARD_TRIPLE   := armv7-unknown-linux-musleabihf
BOARD_ARCH     := armhf
BOARD_CONSOLE  := ttyAMA0
BOARD_LOADER   := u-boot-qemu
# QEMU hands its own device tree to U-Boot, and U-Boot to the kernel.
BOARD_DTBS     :=
BOARD_MODULES  := virtio_pci virtio_mmio virtio_blk ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
BOARD_EMULATOR := qemu-system-arm
BOARD_QEMU      = qemu-system-arm -machine virt,highmem=off -cpu cortex-a15 -m 512 -device virtio-blk-device,drive=disk \
  -bios $(PACKAGES)/u-boot-qemu/usr/lib/u-boot/qemu_arm/u-boot.bin
