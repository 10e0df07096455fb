#!/usr/bin/env bash
# Builds the fuzz targets and runs each: fuzz/run.sh SECONDS [TARGET...]. What crashes one is left in .cache/fuzz/crashes.
#
# libFuzzer is a crate, so the stable toolchain is enough: the flags are what makes the compiler count where the program goes.
set -eu -o pipefail
cd "$(dirname "$0")"
seconds=$1; shift
cache=$PWD/../.cache/fuzz
mkdir -p "$cache/crashes"
host=$(rustc -vV | sed -n 's/^host: //p')
# The seeds are the samples of our own: one file each.
[ -e "$cache/seeds" ] || ./seeds.sh "$cache/seeds"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
unset CARGO_BUILD_TARGET
cargo build --quiet --locked --release --target "$host" --target-dir "$cache/target"
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | tail -n +2)
for target; do
  mkdir -p "$cache/corpus/$target"
  log=$cache/$target.log
  if ! "$cache/target/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 \
    -artifact_prefix="$cache/crashes/$target-" -print_final_stats=1 "$cache/corpus/$target" "$cache/seeds" > "$log" 2>&1; then
    tail -30 "$log"; echo "fuzz: $target found something: $log"; exit 1
  fi
  echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s, $(
    grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -c6-) places reached, nothing found"
done
