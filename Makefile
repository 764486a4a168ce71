# Two commands: `make demo` shows live system call rates, `make test` runs everything. Both install
# what is missing first. Where make itself is missing, scripts/demo.sh and scripts/test.sh will do.

.PHONY: help demo test lint sanitize vm deps bench bench-quick bench-cpus wild clean

help:
	@echo 'make demo         live system call rates per process'
	@echo 'make test         the whole suite, as root on this kernel, and every check'
	@echo 'make lint         the checks alone: layout, clippy, documentation'
	@echo 'make sanitize     the unsafe code under AddressSanitizer'
	@echo 'make vm           tests on Linux 5.10 and 6.1, under QEMU: fetches two kernels'
	@echo 'make deps         what building and testing need, installed where missing'
	@echo 'make bench        every benchmark, with all peers; OUT=docs/bench to keep the figures'
	@echo 'make bench-quick  every benchmark, in a short form, without aya'
	@echo 'make bench-cpus   walks against possible CPUs, under QEMU'
	@echo 'make wild         programs that nobody here wrote, through the generator: fetches 300 MB'
	@echo 'make clean        away with what was built'

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

lint:
	@scripts/lint.sh

# Loom switches stacks by itself, which the sanitizer does not follow.
sanitize:
	@scripts/deps.sh build
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 cargo test --package bpf-atlas \
		--lib --no-default-features --target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/sanitize \
		sys:: -- --skip model

vm:
	@scripts/vm.sh

deps:
	@scripts/deps.sh build test lint

bench:
	@scripts/bench.sh $(OUT)

bench-quick:
	@scripts/bench.sh --quick $(OUT)

bench-cpus:
	@scripts/bench-cpus.sh $(OUT)

wild:
	@docs/wild/run

clean:
	cargo clean
