# Two commands: `make demo` shows live system call rates, `make test` runs everything. Both install
# what is missing first. Where make itself is missing, scripts/demo.sh and scripts/test.sh will do.

.PHONY: help demo test lint deps bench bench-quick wild clean

help:
	@echo 'make demo         live system call rates per process'
	@echo 'make test         the whole suite, as root on this kernel, and every check'
	@echo 'make lint         the checks alone: layout, clippy, documentation'
	@echo 'make deps         what building and testing need, installed where missing'
	@echo 'make bench        every benchmark'
	@echo 'make bench-quick  every benchmark, in a short form'
	@echo 'make wild         programs that nobody here wrote, through the generator: fetches 300 MB'
	@echo 'make clean        away with what was built'

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

lint:
	@scripts/lint.sh

deps:
	@scripts/deps.sh build test lint

bench:
	@scripts/deps.sh build
	cargo bench --bench '*'

bench-quick:
	@scripts/deps.sh build
	cargo bench --bench '*' -- --quick

wild:
	@scripts/deps.sh build
	docs/wild/run

clean:
	cargo clean
