# Images of boards: make image, make flash, make boot. README.md beside this file says what a board is made of.

BOARDS := $(patsubst boards/%/board.mk,%,$(wildcard boards/*/board.mk))
BOARD_OUT = out/boards/$(BOARD)
# Where Debian's packages for it are unpacked.
PACKAGES  = .cache/boards/$(BOARD_ARCH)

ifdef BOARD
ifeq ($(filter $(BOARD),$(BOARDS)),)
$(error there is no board $(BOARD): boards/ has $(BOARDS))
endif
BOARD_CONTAINER := guest
include boards/$(BOARD)/board.mk
BOARD_MONOPOD   := $(or $(MONOPOD),out/$(BOARD_TRIPLE)/monopod)
# What the recipes' scripts read: what is given on make's command line, and the board's own.
export KERNEL MODULES DTB ROOTFS CONFIG FIRMWARE DATA_SIZE DEV YES LOADER
export BOARD BOARD_OUT PACKAGES BOARD_MONOPOD BOARD_CONTAINER BOARD_CONSOLE BOARD_DTBS BOARD_MODULES BOARD_BOOT \
  BOARD_INITRAMFS_ADDRESS BOARD_FORM BOARD_FLASH BOARD_QEMU
endif

.PHONY: boards image flash boot test-boards board-parts board-tools

# Files of a container belong to its own users; who is not root lays them out with fakeroot.
FAKEROOT := $(if $(filter 0,$(shell id -u)),,fakeroot)
# What takes part in an image, unless another is given.
BOARD_PARTS = busybox $(if $(KERNEL),,kernel) $(BOARD_LOADER)

boards: ## the boards that there are recipes for
	@$(foreach board,$(BOARDS),printf '%-22s %s\n' $(board) "$$(sed -n 's/^BOARD_TITLE *:= *//p' boards/$(board)/board.mk)";)

image: board-parts $(BOARD_MONOPOD) ## what is flashed to a board, BOARD=NAME (KERNEL= DTB= ROOTFS= for your own)
	@$(FAKEROOT) boards/common/image.sh

# Looks first, says what it would do, and only writes to a real device with YES=1; a file is written at once.
flash: board-tools ## write the image to DEV= (a disk, a file, or the tool that reaches the board); YES=1 to really do it
	@boards/common/flash.sh

boot: board-parts ## boot the disk file flashed last, or DEV=, in QEMU, through U-Boot (BOARD=qemu-...)
	@boards/common/boot.sh

# With CI=1 a skip fails.
test-boards: ## make, flash and boot images of all boards (ONLY=NAME for one)
	@CI=$(CI) tests/boards/run.py $(ONLY)

board-parts: board-tools
	@boards/common/unpack.sh $(BOARD_ARCH) $(PACKAGES) $(BOARD_PARTS)

board-tools:
	@test -n "$(BOARD)" || { echo "BOARD=NAME is missing; make boards lists them"; exit 1; }
	@targets/need.sh genimage:genimage mkfs.ext4:e2fsprogs mkfs.vfat:dosfstools mcopy:mtools cpio:cpio depmod:kmod \
	  mkimage:u-boot-tools mkbootimg:mkbootimg sfdisk:fdisk $(FAKEROOT:%=%:%) $(addsuffix :$(BOARD_EMULATOR),$(firstword $(BOARD_QEMU)))
