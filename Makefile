# onit: build, run, test, measure.
CARGO  ?= cargo
PREFIX ?= /usr/local
MUSL    = $(shell uname -m)-unknown-linux-musl
TARGET ?= $(MUSL)
SHARE   = $(DESTDIR)$(PREFIX)/share
STATIC  = target/$(TARGET)/release/onit
BOXED  ?= target/container
TINY    = target/tiny/$(MUSL)/release/onit
# A panic aborts: left out are the tables for unwinding it (static.ld), and what would read them (`lean`:
# src/sys/unwind.rs, whose functions stand in for those of the same names). Rust's own linker knows other processors too,
# and keeps one of several functions that are equal, where nobody compares their addresses.
LEAN    = --cfg lean -C linker=rust-lld -C link-self-contained=yes -C target-feature=+crt-static \
	-C relocation-model=static -C link-arg=-T$(CURDIR)/static.ld -C link-arg=--icf=safe \
	-C link-arg=--allow-multiple-definition

# What the tests compare with, and run: `make test-deps`.
PACKAGES = runit daemontools s6 execline supervisor redis-server redis-tools nginx-light postgresql busybox-static perl runc tini \
	dumb-init catatonit qemu-system-x86 qemu-system-arm e2fsprogs xz-utils socat strace systemd python3 mandoc zsh fish

# What is looked at besides: `lint`, or `format` alone where clippy is told to compile.
LINT   ?= lint

.PHONY: all help run test test-deps bench soak fuzz mutants static tiny boxed install lint format features size

all:	## build target/release/onit
	$(CARGO) build --release

help:	## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | while read -r target text; do \
	  printf '%-10s%s\n' "$$target" "$$text"; done

# Without what cargo and make put into the environment: it is that of the services.
run: all	## build, and run the services in svdir-examples/
	@exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CARGO target/release/onit run --prefix svdir-examples

# All but the soak. What is not installed, tests say they skip.
test: $(LINT) features	## formatting, lints, all tests but the soak
	$(CARGO) test --quiet --all-features --no-fail-fast -- --skip ::soak::

test-deps:	## install what the tests compare with and run, on Debian as root
	@.ci/packages $(PACKAGES)

format:	## check the formatting
	$(CARGO) fmt --check

lint: format	## check the formatting, clippy and the documentation
	$(CARGO) clippy --quiet --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps --all-features

# Alone, the library needs libc and nix, and so does embed; and no feature needs another one that it does not name.
features:	## check that the library and each feature compile alone
	@needs=$$($(CARGO) tree --quiet --no-default-features -e normal --depth 1 --prefix none | sed '1d; s/ .*//' | xargs); \
	[ "$$needs" = "libc nix" ] || { echo "features: the library alone needs $$needs"; exit 1; }
	@needs=$$($(CARGO) tree --quiet --no-default-features --features embed -e normal --depth 1 --prefix none | sed '1d; s/ .*//' | xargs); \
	[ "$$needs" = "libc nix" ] || { echo "features: embed alone needs $$needs"; exit 1; }
	@for features in "" init tools cli helpers systemd serde embed embed,log init,tools; do \
	  $(CARGO) clippy --quiet --no-default-features --features "$$features" -- -D warnings || exit; done

# A static binary: against musl if that target can be had, else against the C library of this machine.
static:	## one file without libraries; TARGET=aarch64-unknown-linux-musl: for 64-bit ARM
	@if rustup target add $(TARGET) >/dev/null 2>&1; then \
	  echo "static: $(TARGET)"; RUSTFLAGS="$(LEAN)" $(CARGO) build --release --target $(TARGET); \
	elif [ "$(TARGET)" != "$(MUSL)" ]; then \
	  echo "static: $(TARGET) is not to be had"; exit 1; \
	else \
	  echo "static: glibc with crt-static (the musl target is not to be had)"; \
	  RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --target $(shell uname -m)-unknown-linux-gnu; \
	  mkdir -p $(dir $(STATIC)); cp target/$(shell uname -m)-unknown-linux-gnu/release/onit $(STATIC); \
	fi

# The smallest: PID 1, `run`, `--`, `idle`, sv, svc, svstat and svok. A nightly compiler leaves out what the standard
# library has for the messages of panics, 350 KB; an onit that fails goes on all the same, but does not say why.
tiny:	## the smallest static binary: PID 1, run, --, sv, svc, svstat, svok
	@rustup toolchain list 2>/dev/null | grep -q ^nightly || \
	  rustup toolchain install nightly --profile minimal --no-self-update >/dev/null 2>&1; \
	set -- build --release --no-default-features --features init,tools --target $(MUSL) --target-dir target/tiny; \
	export CARGO_PROFILE_RELEASE_OPT_LEVEL=z; \
	if rustup component add rust-src --toolchain nightly >/dev/null 2>&1 && \
	  rustup target add $(MUSL) --toolchain nightly >/dev/null 2>&1 && echo "tiny: nightly, its own standard library" && \
	  RUSTFLAGS="$(LEAN) -Zunstable-options -Cpanic=immediate-abort" rustup run nightly cargo "$$@" \
	    -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size; then :; \
	else \
	  echo "tiny: a nightly compiler with rust-src is not to be had: what std has for the messages of panics stays (350 KB)"; \
	  rustup target add $(MUSL) >/dev/null 2>&1; RUSTFLAGS="$(LEAN)" $(CARGO) "$$@" || exit; \
	fi
	@tests/tiny $(TINY)
	@stat -c '%n: %s bytes' $(TINY)

# The static binary that tests put into containers: what is released, but for the last optimisations, which take minutes.
boxed:	## the static binary that tests put into containers
	@rustup target add $(MUSL) >/dev/null 2>&1; \
	env -u RUSTC_WORKSPACE_WRAPPER RUSTFLAGS="$(LEAN)" CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	  $(CARGO) build --release --quiet --bin onit --target $(MUSL) --target-dir $(BOXED)

size: static	## show the size of the static binary
	@stat -c '%n: %s bytes' $(STATIC)

bench: test-deps static	## compare with other supervisors on this machine
	ONIT=$(CURDIR)/$(STATIC) $(CARGO) bench

# Each decoder is fed for a minute (FUZZ=600: longer), from what is in fuzz/corpus/ on.
FUZZ ?= 60
fuzz:	## feed the decoders with anything, a minute each
	@rustup toolchain list 2>/dev/null | grep -q ^nightly || rustup toolchain install nightly --profile minimal --no-self-update
	@cargo fuzz --version >/dev/null 2>&1 || $(CARGO) install --quiet --locked cargo-fuzz
	@for target in $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs)); do \
	  rustup run nightly cargo fuzz run $$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ) -print_final_stats=1 || exit; done

# What takes too long for every day.
soak: test-deps static	## what takes too long for every day (10,000 services, storms, other kernels)
	tests/soak/ten-thousand $(STATIC)
	WALKS=100000 $(CARGO) test --quiet --lib -- walks simulation::fleet
	ONIT_SEQUENCES=2000 ONIT_AT_ONCE=120 $(CARGO) test --quiet --test it every_history
	$(CARGO) test --quiet --test it ::soak::
	GRAPHS=whole $(CARGO) test --quiet --release --lib -- --nocapture three_services_keep
	LINES=100000 $(CARGO) test --quiet --test it each_line_comes_once
	ORPHANS=100000 $(CARGO) test --quiet --test it a_storm_of_orphans
	ORPHANS=18000 $(CARGO) test --quiet --test it an_idle_pid_1_reaps

# The list says what must be noticed, and why; cargo-mutants, where it is installed, tries everything that it can think
# of in the decisions and formats (hours; MUTATE=src/machine/fleet.rs: one file).
MUTATE ?= src/machine/**/*.rs src/wire/**/*.rs

mutants:	## break the source in many places: the tests must notice each (MUTATE=FILE: in one file)
	tests/mutants/run
	@cargo mutants --version >/dev/null 2>&1 || { echo "mutants: cargo-mutants is not installed: the list alone"; exit; }; \
	cargo mutants --jobs 2 --output target/mutants $(foreach glob,$(MUTATE),--file '$(glob)') \
	  --exclude '**/simulation/**' --cargo-test-arg=--lib

install: static	## install program, manual pages and completions to PREFIX, below DESTDIR
	install -D -m 755 $(STATIC) $(DESTDIR)$(PREFIX)/bin/onit
	for page in man/*; do install -D -m 644 $$page $(SHARE)/man/man$${page##*.}/$${page##*/} || exit; done
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	$(STATIC) completion bash >$(SHARE)/bash-completion/completions/onit
	$(STATIC) completion zsh >$(SHARE)/zsh/site-functions/_onit
	$(STATIC) completion fish >$(SHARE)/fish/vendor_completions.d/onit.fish
