# 64-bit ARM boards and phones. std and the C library come with rustup; no C cross compiler is needed.

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER := rust-lld

limit.aarch64-unknown-linux-musl       := 720000
limit-small.aarch64-unknown-linux-musl := 451000

# How another machine runs it.
runner.aarch64-unknown-linux-musl := qemu-aarch64-static
