BOARD_TITLE    := BeagleBone White, Black and Green, PocketBeagle (TI AM335x)
BOARD_TRIPLE   := armv7-unknown-linux-musleabihf
BOARD_ARCH     := armhf
# Debian's kernel has the OMAP driver and its name; kernels with the 8250 driver say ttyS0.
BOARD_CONSOLE  := ttyO0,115200
BOARD_LOADER   := u-boot-omap
# U-Boot reads from an EEPROM which board it is on.
BOARD_DTBS     := $(addprefix am335x-,bone.dtb boneblack.dtb boneblack-wireless.dtb bonegreen.dtb bonegreen-wireless.dtb \
  boneblue.dtb pocketbeagle.dtb)
BOARD_MODULES  := tps65217 omap_hsmmc sdhci_omap ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
