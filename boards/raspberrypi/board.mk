BOARD_TITLE    := Raspberry Pi 3 and 4 (BITS=32 for 32-bit programs, 64 without)
BITS           ?= 64
BOARD_TRIPLE   := $(if $(filter 32,$(BITS)),armv7-unknown-linux-musleabihf,aarch64-unknown-linux-musl)
BOARD_ARCH     := $(if $(filter 32,$(BITS)),armhf,arm64)
# The header's pins 8 and 10, on every model, once config.txt has said enable_uart=1.
BOARD_CONSOLE  := ttyS1,115200
BOARD_LOADER   := u-boot-rpi $(if $(FIRMWARE),,raspi-firmware)
BOARD_BOOT     := firmware
BOARD_DTBS     := $(addprefix $(if $(filter 64,$(BITS)),broadcom/),bcm2837-rpi-3-a-plus.dtb bcm2837-rpi-3-b.dtb \
  bcm2837-rpi-3-b-plus.dtb bcm2711-rpi-4-b.dtb bcm2711-rpi-400.dtb bcm2711-rpi-cm4-io.dtb)
# Its watchdog is also what restarts the board and switches it off.
BOARD_MODULES  := reset_raspberrypi gpio_regulator bcm2835_wdt bcm2835 sdhci_iproc ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
