#!/usr/bin/env bash
# Builds the fuzz targets and runs them, as many at a time as there are processors: fuzz/run.sh SECONDS [TARGET...].
# What crashes one is left in .cache/fuzz/crashes.
#
# libFuzzer is a crate, so the stable toolchain is enough: the flags are what makes the compiler count where the program goes.
set -eu -o pipefail
cd "$(dirname "$0")"
export seconds=$1; shift
export cache=$PWD/../.cache/fuzz
mkdir -p "$cache/crashes"
host=$(rustc -vV | sed -n 's/^host: //p')
./seeds.sh "$cache/seeds"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
unset CARGO_BUILD_TARGET
cargo build --quiet --locked --release --target "$host" --target-dir "$cache/target"
export programs=$cache/target/$host/release
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | tail -n +2)

# No input takes ten seconds, and whatever it is, no allocation takes more than 16 MB, nor all together more than 512.
run() {
  mkdir -p "$cache/corpus/$1"
  if ! "$programs/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -malloc_limit_mb=16 -max_len=8192 \
    -artifact_prefix="$cache/crashes/$1-" -print_final_stats=1 "$cache/corpus/$1" "$cache/seeds" > "$cache/$1.log" 2>&1; then
    tail -30 "$cache/$1.log"; echo "fuzz: $1 found something: $cache/$1.log"; exit 1
  fi
  echo "fuzz: $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$cache/$1.log") inputs in $seconds s, $(
    grep -o 'cov: [0-9]*' "$cache/$1.log" | tail -1 | cut -c6-) places reached, nothing found"
}
export -f run
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -eu -c 'run {}'
