BOARD_TITLE    := PinePhone (Allwinner A64), from a card or its eMMC
BOARD_TRIPLE   := aarch64-unknown-linux-musl
BOARD_ARCH     := arm64
# The headphone socket, with its switch off.
BOARD_CONSOLE  := ttyS0,115200
BOARD_LOADER   := u-boot-sunxi
# U-Boot chooses by the model that it finds itself on.
BOARD_DTBS     := $(addprefix allwinner/sun50i-a64-pinephone-,1.0.dtb 1.1.dtb 1.2.dtb)
BOARD_MODULES  := axp20x_rsb axp20x_regulator sunxi_mmc ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk
