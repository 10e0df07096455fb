# 32-bit ARM boards and phones with hardware floating point.
#
# Not every mirror has rustup's std for this target. Where it is missing, std is built from rust-src (which is what asks
# for RUSTC_BOOTSTRAP here), and the C library comes from Debian's musl-dev package, unpacked but not installed.

ARMV7      := armv7-unknown-linux-musleabihf
ARMV7_MUSL := $(CURDIR)/.cache/musl-armhf/usr/lib/arm-linux-musleabihf

export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_LINKER := rust-lld

limit.$(ARMV7)       := 558000
limit-small.$(ARMV7) := 337000

# How another machine runs it.
runner.$(ARMV7) := qemu-arm-static

# 64-bit time_t, or the clock ends in 2038. The cfg is for this package's libc crate, the variable for the older one of
# std. 4 KiB pages are the only ones that 32-bit ARM has: lld would otherwise pad segments to 64 KiB. Thumb-2 instructions, which every ARMv7 has, are a quarter smaller than ARM ones.
flags.$(ARMV7) := -Ctarget-feature=+thumb-mode --cfg=libc_unstable_musl_v1_2 -Clink-arg=-zmax-page-size=4096
env.$(ARMV7)   := RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1

# With std built here the C library must be named too: rustc looks for its own copy, which came with the missing std.
flags-rebuilt.$(ARMV7) := -Clink-self-contained=no -Ctarget-feature=+crt-static -Crelocation-model=static \
  -Lnative=$(ARMV7_MUSL) $(foreach part,crt1 crti crtn,-Clink-arg=$(ARMV7_MUSL)/$(part).o)

fallback.$(ARMV7) := targets/fetch-musl-armhf.sh .cache/musl-armhf
