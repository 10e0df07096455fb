BOARD_TITLE     := a phone with an Android boot loader (boot.img; KERNEL= is the phone's own)
BOARD_TRIPLE    := aarch64-unknown-linux-musl
BOARD_ARCH      := arm64
# The phone's own, where it has one; Debian's kernel is for a trial in QEMU's "virt" machine.
BOARD_CONSOLE   := $(if $(KERNEL),tty0,ttyAMA0)
BOARD_MODULES   := $(if $(KERNEL),,virtio_pci virtio_blk ext4)
BOARD_CONTAINER := android
BOARD_FORM      := android
BOARD_FLASH     := fastboot heimdall
# What the phone's boot loader expects; `unpack_bootimg --boot_img` tells it of the boot.img that came with the phone.
# The partition's size is in bytes.
BOOT_BASE       ?= 0x00000000
BOOT_OFFSETS    ?= --kernel_offset 0x00008000 --ramdisk_offset 0x01000000 --tags_offset 0x00000100
BOOT_PAGESIZE   ?= 4096
BOOT_HEADER     ?= $(if $(DTB),2,0)
BOOT_PARTITION  ?= 67108864
export BOOT_BASE BOOT_OFFSETS BOOT_PAGESIZE BOOT_HEADER BOOT_PARTITION
