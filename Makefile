# monopod: what can be built, tried and tested here. `make help` lists it.
#
# Each file in targets/ is one machine that monopod is built for: its linker, flags, size limits and emulator.
# What is fetched goes to .cache, what is left for you to out; cargo's own files stay in target.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-host test-user test-qemu test-glue test-parity test-systemd test-fuzz guest asan valgrind miri faults soak fuzz bench test-deps start-all foreign check fmt clippy deny features build build-all small install uninstall size size-features check-static toolchain started clean FORCE

# A shell without a login has no ~/.cargo/bin; flags from outside would replace those of targets/.
export PATH := $(PATH):$(HOME)/.cargo/bin
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR := $(TARGET_DIR)

TARGETS := $(patsubst targets/%.mk,%,$(wildcard targets/*.mk))
include $(wildcard targets/*.mk)
# TARGET=... builds one of them; without it, all.
WANTED  := $(or $(TARGET),$(TARGETS))
MACHINE := $(shell uname -m)
HOST    := $(or $(filter $(patsubst armv7%,armv7,$(MACHINE))-%,$(TARGETS)),$(MACHINE))
RUSTC   := $(shell PATH="$(PATH)" rustc --version 2>/dev/null | cut -d' ' -f2)
RUSTLIB := $(shell PATH="$(PATH)" rustc --print sysroot 2>/dev/null)/lib/rustlib
KEEP    := .cache/rust-$(RUSTC)
DENY    := 0.20.2
upper    = $(shell echo $1 | tr a-z- A-Z_)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile boards/boards.mk | expand -t 22

demo: out/$(HOST)/monopod ## boot a small Android-like system in a container (DEMO=interactive: log in to it)
	@targets/need.sh busybox:busybox-static readelf:binutils
	@tests/demo/run.sh out/$(HOST)/monopod

# ---- building ----

build: $(WANTED:%=out/%/monopod) ## the static binaries, out/TRIPLE/monopod (TARGET=TRIPLE for one)

build-all: $(TARGETS:%=out/%/monopod) $(TARGETS:%=out/%/monopod-small) ## both of them for every target

# What a phone needs with an old config or with `monopod.preset = android`, or a board whose init it is; FEATURES="net seccomp" is that
# of Waydroid, FEATURES= the smallest. Cargo.toml says what each is.
FEATURES     ?= pid1 guard ready
FEATURES-ALL := $(shell sed -n 's/^default = \[\(.*\)\]/\1/p' Cargo.toml | tr -d '",')
small: $(WANTED:%=out/%/monopod-small) ## the same with std rebuilt for size, out/TRIPLE/monopod-small (FEATURES="net idmap")

# The names of LXC's tools that the binary answers to. A unit test compares them with the table of verbs.
LXC_TOOLS := start stop info wait attach execute console ls top autostart cgroup device freeze unfreeze monitor config \
  checkconfig update-config
PREFIX ?= /usr/local
BINDIR  = $(DESTDIR)$(PREFIX)/bin

# Not built here: it may run as root, who needs no toolchain for it.
install: ## monopod and its links by LXC's names, to PREFIX/bin (PREFIX=/usr/local, DESTDIR, TARGET; after make build)
	@test -e out/$(or $(TARGET),$(HOST))/monopod || { echo "make build TARGET=$(or $(TARGET),$(HOST)) comes first"; exit 1; }
	install -D -m 755 out/$(or $(TARGET),$(HOST))/monopod $(BINDIR)/monopod
	@for tool in $(LXC_TOOLS); do \
	  if test -e $(BINDIR)/lxc-$$tool -a ! -L $(BINDIR)/lxc-$$tool; then \
	    echo "$(BINDIR)/lxc-$$tool is not a link, so not ours to replace"; exit 1; fi; \
	  ln -sfn monopod $(BINDIR)/lxc-$$tool; done

uninstall: ## remove what make install made (the same PREFIX and DESTDIR)
	@for tool in $(LXC_TOOLS); do \
	  if test "$$(readlink $(BINDIR)/lxc-$$tool)" = monopod; then rm -f $(BINDIR)/lxc-$$tool; fi; done
	rm -f $(BINDIR)/monopod

# How std comes to a build is one word in a file: "prebuilt" (rustup has it) or "rebuilt" (the target's fallback).
out/%/monopod: FORCE $(KEEP)/%
	@$(call cargo-build,$*,$(file < $(KEEP)/$*),$(filter-out prebuilt,$(file < $(KEEP)/$*)))

out/%/monopod-small: FORCE $(KEEP)/%
	@$(call cargo-build,$*,$(file < $(KEEP)/$*),small)

# The guest of the tests, for the emulated machines.
out/%/testinit: FORCE $(KEEP)/%
	@$(call cargo-build,$*,$(file < $(KEEP)/$*),$(filter-out prebuilt,$(file < $(KEEP)/$*)),testinit)

# $(call cargo-build,TRIPLE,prebuilt|rebuilt,WHY,EXAMPLE): WHY, if any, builds std too; EXAMPLE is built in monopod's place. RUSTC_BOOTSTRAP lets the stable toolchain do
# that, in a directory of its own, because build scripts ask for the variable.
# In every build nothing unwinds: src/sys/unwind.rs answers for an unwinder, an empty archive keeps the real one out, and
# the tables for it are discarded. That alone halves the binary.
cargo-build = $(if $3,$(rebuild-tools)) mkdir -p .cache/no-unwind; printf '!<arch>\n' > .cache/no-unwind/libunwind.a; \
  CARGO_TARGET_$(call upper,$1)_RUSTFLAGS="$(strip $(flags.$1) $(flags-$2.$1) $(no-unwind) $(layout) $(fold) $(if $(filter small,$3),$(small-flags)))" \
  $(if $3,RUSTC_BOOTSTRAP=1 $(env.$1)) cargo build --locked --release --target $1 $(if $4,--example $4) \
  $(if $(filter small,$3),--no-default-features $(if $(FEATURES),--features "$(FEATURES)"),$(if $(WITHOUT),--no-default-features --features "$(filter-out $(WITHOUT),$(FEATURES-ALL))")) \
  $(if $3,$(rebuild-std),--target-dir $(TARGET_DIR)/lean); \
  install -D -m 755 $(if $3,$(REBUILT),$(TARGET_DIR)/lean)/$1/release/$(if $4,examples/$4,monopod) $@
REBUILT       := $(TARGET_DIR)/rebuilt-std
no-unwind     := --cfg=unwind_stub -Cforce-unwind-tables=no -Lnative=$(CURDIR)/.cache/no-unwind -Clink-arg=--no-eh-frame-hdr \
  -Clink-arg=$(CURDIR)/targets/no-unwind.ld
# Nothing relocates a static binary, so nothing would make its table of addresses read-only: it shares the data's page. What a
# supervisor at rest runs through lies together, which is two thirds of its resident memory less.
layout        := -Crelro-level=off -Clink-arg=$(CURDIR)/targets/large-last.ld -Clink-arg=$(CURDIR)/targets/order.ld
# Code that occurs twice is kept once: whole functions by the linker, sequences within them by the compiler.
fold          := -Clink-arg=--icf=all -Clink-arg=-O2 -Cllvm-args=-enable-machine-outliner=always
small-flags   := -Zunstable-options -Cpanic=immediate-abort -Zfmt-debug=none -Zlocation-detail=none
rebuild-std   := -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size --target-dir $(REBUILT)
rebuild-tools  = test -e $(RUSTLIB)/src/rust/library/Cargo.lock || rustup -q component add rust-src || \
  { echo "rust-src is missing and rustup could not add it: rustup component add rust-src"; exit 1; };

.PRECIOUS: $(KEEP)/%
$(KEEP)/%: FORCE | toolchain
	@test -e targets/$*.mk || { echo "no target $*: targets/ has $(TARGETS)"; exit 1; }
	@mkdir -p $(@D)
	@if test -d $(RUSTLIB)/$*/lib || rustup target add $* 2> .cache/rustup.log; then echo prebuilt > $@; \
	elif test -n "$(fallback.$*)"; then $(or $(fallback.$*),false) && echo rebuilt > $@; \
	else echo "rustup could not add the target $* (.cache/rustup.log says why; is the network down?)"; exit 1; fi

toolchain:
	@command -v rustup > /dev/null && rustc --version > /dev/null || \
	  { echo "rustup with a stable toolchain is missing: install it from its home page, then come back"; exit 1; }
	@targets/need.sh cc:gcc readelf:binutils

# ---- testing ----

AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo -E)

test: test-deps fmt clippy check-static start-all test-host test-user test-glue test-parity test-boards test-qemu test-fuzz ## install what the tests need and run all of them
	@if command -v cargo-deny > /dev/null; then $(MAKE) deny; else echo "skipped: cargo-deny, make check installs it"; fi
	@echo; $(MAKE) size
	@echo "all tests of $(HOST) passed, and the rest started where \"started\" is said above"

# The program under test is the one that is shipped; cargo's own copy is only built beside it.
test-host: test-deps out/$(HOST)/monopod ## containers on this machine
	cargo build --locked --release --target $(HOST) --features alloc-audit --target-dir $(TARGET_DIR)/audit
	MONOPOD_BIN=$(CURDIR)/out/$(HOST)/monopod MONOPOD_AUDIT_BIN=$(TARGET_DIR)/audit/$(HOST)/release/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST)

# Every test once more with the binaries of the other machines, under qemu-user. The guests stay this machine's, and what
# qemu-user does not have (strace on the program, bpf, a process 1 that executes itself) is skipped by name.
test-user: test-deps $(TARGETS:%=out/%/monopod) ## the same with the binaries of other machines, under qemu-user
	@for t in $(filter-out $(HOST),$(TARGETS)); do $(MAKE) foreign T=$$t; done

foreign:
	@if ! command -v $(runner.$T) > /dev/null; then echo "skipped: the tests of $T, $(runner.$T) is missing"; exit $(if $(CI),1,0); fi
	MONOPOD_RUNNER=$(runner.$T) MONOPOD_BIN=$(CURDIR)/out/$T/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST)
	@echo "all tests of $T that qemu-user can run passed"

test-deps: | toolchain
	@test "$$(id -u)" = 0 || command -v sudo > /dev/null || { echo "make test needs root or sudo: its tests make \
	namespaces, mounts and cgroups. Without either: cargo test --lib"; exit 1; }
	@targets/need.sh busybox:busybox-static strace:strace bwrap:bubblewrap ip:iproute2 mkfs.ext4:e2fsprogs mksquashfs:squashfs-tools newuidmap:uidmap /usr/include/seccomp.h:libseccomp-dev
	@NEED=optional targets/need.sh lxc-start:lxc $(foreach t,$(filter-out $(HOST),$(TARGETS)),$(runner.$t):qemu-user-static)

# The binaries of other machines, started under qemu-user: a wrong C library or ABI shows here.
start-all: $(TARGETS:%=out/%/monopod) $(TARGETS:%=out/%/monopod-small)
	@for t in $(TARGETS); do for b in monopod monopod-small; do $(MAKE) started BIN=out/$$t/$$b T=$$t; done; done

started:
	@if [ "$T" = "$(HOST)" ]; then run=; else run=$(runner.$T); fi; \
	if [ -n "$$run" ] && ! command -v $$run > /dev/null; then echo "skipped: $(BIN), $$run is missing"; \
	else version=$$($$run $(BIN) --version); echo "started: $(BIN): $$version"; fi

# Emulated machines with Debian's kernels; QEMU="arm64 v2" tries only these. With CI=1 a skip fails.
test-qemu: $(TARGETS:%=out/%/monopod) $(TARGETS:%=out/%/testinit) ## boot it on aarch64, armv7 and x86_64 kernels in QEMU (QEMU="arm64 v2" for some)
	@$(call need-emulators)
	@$(if $(QEMU),,CI=$(CI) tests/qemu/run.py --self-test)
	@CI=$(CI) tests/qemu/run.py $(QEMU)

need-emulators = $(if $(CI),,NEED=optional) targets/need.sh python3:python3 \
  qemu-system-aarch64:qemu-system-arm qemu-system-arm:qemu-system-arm qemu-system-x86_64:qemu-system-x86

# Service managers, each process 1 of namespaces of its own on this machine. GLUE="systemd runit" tries only these.
test-glue: out/$(HOST)/monopod ## run it under systemd, OpenRC, runit, s6, SysV init and busybox (GLUE="s6" for some)
	@targets/need.sh python3:python3 nsenter:util-linux
	@$(AS_ROOT) env CI=$(CI) tests/glue/run.py $(GLUE)

# LXC's own test scripts, and the same configs under its own tools and ours. PARITY="exit-code ttys" tries only these.
test-parity: out/$(HOST)/monopod ## hold it to LXC 5.0.2 by LXC's own tests (PARITY="exit-code" for some)
	@targets/need.sh python3:python3 busybox:busybox-static ip:iproute2
	@NEED=optional targets/need.sh lxc-start:lxc
	@cargo build --quiet --locked --example testinit --target $(HOST)
	@$(if $(PARITY),,$(AS_ROOT) env CI=$(CI) tests/parity/run.py --self-test)
	@$(AS_ROOT) env CI=$(CI) tests/parity/run.py $(PARITY)

# Not a part of `make test`: it fetches a whole Debian.
test-systemd: out/aarch64-unknown-linux-musl/monopod ## boot Debian with systemd as a container on aarch64 in QEMU
	@$(call need-emulators)
	@targets/need.sh mmdebstrap:mmdebstrap mke2fs:e2fsprogs
	@tests/qemu/fetch.sh arm64 .cache/qemu/arm64
	@$(AS_ROOT) tests/qemu/systemd.sh arm64 .cache/qemu/arm64/systemd.ext4
	@CI=$(CI) tests/qemu/run.py arm64-systemd

# Tests that are built alone would take the guest's init that an earlier run has left.
guest: test-deps
	@cargo build --quiet --locked --example testinit --target $(HOST)

# The flag is not stable yet. What is executed inside a container must be static, which this build is not: those tests say that
# they are skipped. The heap is the sanitizer's, not the program's own, which alloc-audit leaves out. The sanitizer's options are
# in the binary, because inside a container it has no environment: the supervisor gives unused stack back, so the sanitizer's own
# stacks are off; what a process holds at its end is no leak; and the tests judge the core limit.
ASAN_OPTIONS = detect_leaks=0:detect_stack_use_after_return=0:disable_coredump=0
asan: guest ## the tests of this machine under AddressSanitizer
	@mkdir -p .cache/asan
	@echo 'const char *__asan_default_options(void) { return "$(ASAN_OPTIONS)"; }' | cc -c -x c -o .cache/asan/options.o -
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Clink-arg=$(CURDIR)/.cache/asan/options.o" \
	  cargo build --locked --features alloc-audit --target $(MACHINE)-unknown-linux-gnu --target-dir $(TARGET_DIR)/asan
	MONOPOD_PATIENCE=4 MONOPOD_BIN=$(TARGET_DIR)/asan/$(MACHINE)-unknown-linux-gnu/debug/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST) --test tests

# What needs no system call that Miri lacks, and all unsafe code that is none: the heap and the notes. MIRI_TARGET for another word
# size or byte order (i686-unknown-linux-gnu, s390x-unknown-linux-gnu), MIRI_TESTS=text:: for some.
MIRI_TESTS ?= sys::heap sys::notes sys::netlink text:: state:: control::proto control::ring supervise::lifecycle supervise::outcome \
  net::message net::address check::program rootfs::format rootfs::overlay terminal:: guard::filter cgroup::find cgroup::devices \
  android::properties android::reasons::tests android::kmsg android::boot_arguments \
  pid1::settings pid1::policy config::lex config::values config::mounts config::list config::readiness config::own \
  config::update config::lxcpath seccomp::policy seccomp::assemble
miri: | toolchain ## the pure modules' unit tests under Miri: undefined behaviour, in any word size or byte order
	@cargo +nightly miri --version > /dev/null 2>&1 || rustup -q toolchain install nightly --profile minimal -c miri -c rust-src > .cache/rustup.log 2>&1 || \
	  { echo "skipped: miri, rustup could not add a nightly toolchain with it (.cache/rustup.log)"; exit $(if $(CI),1,0); }; \
	MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --locked --lib --target-dir $(TARGET_DIR)/miri \
	  $(if $(MIRI_TARGET),--target $(MIRI_TARGET)) -- $(MIRI_TESTS)

# A thousand restarts, a hundred starts and stops with a dozen clients each. What valgrind does not know of the kernel (clone3,
# openat2) it refuses, as an older kernel would.
CYCLES ?= 1000
valgrind: guest out/$(HOST)/monopod ## the shipped binary under valgrind: starts, restarts, stops, clients (CYCLES=100)
	@targets/need.sh valgrind:valgrind
	MONOPOD_CYCLES=$(CYCLES) MONOPOD_PATIENCE=4 MONOPOD_BIN=$(CURDIR)/out/$(HOST)/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST) --test tests -- \
	  valgrind_ --ignored --nocapture

faults: guest out/$(HOST)/monopod ## every system call from a start to its end fails in every way, or its process dies (ten minutes)
	MONOPOD_BIN=$(CURDIR)/out/$(HOST)/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST) --test tests -- \
	  sweep_of_ --ignored --nocapture

# SOAK=10 is a tenth of it. It ends with a table of what the supervisors have gained; the tests allow them 8 kB, two pages
# that are written for the first time.
SOAK ?= 1
soak: guest out/$(HOST)/monopod ## 10,000 restarts, 100,000 client calls, 1,000,000 orphans, 20 minutes idle: what is gained by them
	@mkdir -p out
	MONOPOD_SOAK=$(SOAK) MONOPOD_BIN=$(CURDIR)/out/$(HOST)/monopod \
	  $(if $(AS_ROOT),CARGO_TARGET_$(call upper,$(HOST))_RUNNER="$(AS_ROOT)") cargo test --locked --target $(HOST) --test tests -- \
	  soak_ orphans_are_reaped --nocapture --test-threads 3 | tee out/soak.log
	@printf '\n| load | descriptors gained | kB gained | cgroups gained |\n|---|---|---|---|\n'; grep '^| ' out/soak.log

# What a longer run, `make fuzz FUZZ=120`, has found is in docs/measurements.md.
FUZZ ?= 60
fuzz: | toolchain ## feed every parser with what nobody would write (FUZZ=SECONDS each)
	@targets/need.sh g++:g++
	@fuzz/run.sh $(FUZZ)

# A part of `make test`: a short run of each, which goes on from the corpus of the last one where that is kept.
TEST_FUZZ ?= $(if $(CI),60,20)
test-fuzz: | toolchain
	@NEED=optional targets/need.sh g++:g++
	@if command -v g++ > /dev/null; then fuzz/run.sh $(TEST_FUZZ); else test -z "$(CI)"; fi

# BENCH=--quick for a short run; benches/README.md says what is compared. Two C programs are its floor and its init.
bench: out/$(HOST)/monopod out/$(HOST)/monopod-small ## measure against LXC and bare system calls (root; BENCH=--quick)
	@targets/need.sh musl-gcc:musl-tools
	@for peer in lxc-start:lxc bwrap:bubblewrap strace:strace crun:crun runc:runc systemd-nspawn:systemd-container tini:tini \
	  dumb-init:dumb-init catatonit:catatonit; do NEED=optional targets/need.sh $$peer; done
	@mkdir -p out/bench
	@# The floor is as small as a C library lets it be: a large one would flatter everybody else.
	musl-gcc -static -Os -s -Wall -Wextra -o out/bench/floor benches/floor.c
	musl-gcc -static -Os -s -Wall -Wextra -o out/bench/init benches/init.c
	MONOPOD=out/$(HOST)/monopod MONOPOD_SMALL=out/$(HOST)/monopod-small \
	  cargo bench --locked --bench bench -- $(BENCH)

# ---- checking ----

check: fmt clippy deny check-static ## rustfmt, clippy with warnings denied, cargo-deny, size limits

fmt: | toolchain
	@cargo fmt --version > /dev/null 2>&1 || rustup component add rustfmt
	cargo fmt --check

clippy: $(KEEP)/$(HOST)
	@cargo clippy --version > /dev/null 2>&1 || rustup component add clippy
	cargo clippy --locked --all-targets --target $(HOST) -- -D warnings

features: | toolchain ## clippy for each cargo feature alone, and for none
	@for feature in "" $(FEATURES-ALL); do echo "feature: $${feature:-none}"; \
	  cargo clippy --quiet --locked --target $(HOST) --no-default-features --features "$$feature" -- -D warnings; done

# The advisories need their database from the network; bans, licences and sources are judged by Cargo.lock alone.
deny: | toolchain
	@command -v cargo-deny > /dev/null || test -x .cache/tools/bin/cargo-deny || \
	  cargo install --locked --root .cache/tools cargo-deny@$(DENY)
	@PATH="$$PATH:$(CURDIR)/.cache/tools/bin"; cargo deny --log-level error check bans licenses sources; \
	if cargo deny --log-level off fetch db > /dev/null 2>&1; then cargo deny --log-level error check advisories; \
	else echo "skipped: cargo deny check advisories, their database cannot be fetched from here"; fi

check-static: $(TARGETS:%=out/%/monopod) $(TARGETS:%=out/%/monopod-small)
	@targets/sizes.sh $(foreach t,$(TARGETS),out/$t/monopod:$(limit.$t) out/$t/monopod-small:$(limit-small.$t))

size: ## how large the binaries in out/ are, as a table
	@printf '| binary | bytes | limit |\n|---|---|---|\n'
	@for each in $(foreach t,$(TARGETS),out/$t/monopod:$(limit.$t) out/$t/monopod-small:$(limit-small.$t)); do \
	  test ! -e $${each%:*} || echo "| $${each%:*} | $$(stat -c %s $${each%:*}) | $${each#*:} |"; done

size-features: ## what each cargo feature costs in the binaries of this machine (builds them all)
	@printf '| feature | default build | small build |\n|---|---|---|\n'
	@size() { $(MAKE) -s $$1 $$2="$$3" > /dev/null 2>&1; stat -c %s $$1; }; \
	full=out/$(HOST)/monopod; small=out/$(HOST)/monopod-small; \
	all=$$(size $$full WITHOUT ""); none=$$(size $$small FEATURES ""); \
	for f in $(FEATURES-ALL); do \
	  echo "| $$f | $$((all - $$(size $$full WITHOUT $$f))) | $$(($$(size $$small FEATURES $$f) - none)) |"; done; \
	size $$full WITHOUT "" > /dev/null; size $$small FEATURES "$(FEATURES)" > /dev/null

# ---- boards ----

include boards/boards.mk

clean: ## remove out/ and cargo's files; .cache stays
	rm -rf out
	cargo clean
