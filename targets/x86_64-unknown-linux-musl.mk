# 64-bit PCs, emulators and CI. std and the C library come with rustup. The binary is a static PIE.

export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER := rust-lld

limit.x86_64-unknown-linux-musl       := 600000
limit-small.x86_64-unknown-linux-musl := 350000

# How another machine runs it.
runner.x86_64-unknown-linux-musl := qemu-x86_64-static
