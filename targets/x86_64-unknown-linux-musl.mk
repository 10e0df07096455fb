# 64-bit PCs, emulators and CI. std and the C library come with rustup. The binary has fixed addresses: a
# position-independent one is 40 KB larger and dirties a page for every few relocations.

export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER := rust-lld

# As on the ARM targets: a fixed load address, without the 40 KB of relocations that a static PIE carries.
flags.x86_64-unknown-linux-musl := -Crelocation-model=static

limit.x86_64-unknown-linux-musl       := 788000
limit-small.x86_64-unknown-linux-musl := 472000

# How another machine runs it.
runner.x86_64-unknown-linux-musl := qemu-x86_64-static
