BOARD_TITLE    := boards with Rockchip's RK3399 (MODEL=rockpro64 and others that Debian's U-Boot knows)
MODEL          ?= rockpro64
BOARD_TRIPLE   := aarch64-unknown-linux-musl
BOARD_ARCH     := arm64
BOARD_CONSOLE  := ttyS2,1500000
BOARD_LOADER   := u-boot-rockchip
# U-Boot chooses by its own model.
BOARD_DTBS     := $(addprefix rockchip/rk3399-,$(addsuffix .dtb,firefly nanopc-t4 nanopi-neo4 pinebook-pro puma-haikou \
  roc-pc rock-pi-4a rock-pi-4b rockpro64 rockpro64-v2))
# The power chip stands behind I2C; without it the card and the eMMC have no voltage.
BOARD_MODULES  := i2c_rk3x rk808_regulator fan53555 pwm_rockchip pwm_regulator io_domain pl330 phy_rockchip_emmc \
  dw_mmc_rockchip sdhci_of_arasan ext4
BOARD_FORM     := disk
BOARD_FLASH    := disk rkdeveloptool
# Where image.cfg finds the boot loader.
export RK3399_LOADER := u-boot-rockchip/usr/lib/u-boot/$(MODEL)-rk3399
