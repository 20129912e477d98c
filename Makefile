# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door: every target is a line or two of cmake, ctest or a script in ci/, which can be typed by hand as well.

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FILE ?=
NAME ?=
SECONDS ?= 60
KILLS ?= 10000
SEED ?=
ARGS ?=
MODELS ?= model-check

# On a terminal: how many of how many are built and run, in one line; elsewhere a line for each.
export NINJA_STATUS = [%f/%t, %e s]$(space)
export CTEST_PROGRESS_OUTPUT = 1
space := $(subst ,, )

# Generated clients of NAME, where it has some.
clients_of_name = $(patsubst models/%/clients.cpp,%-clients,$(wildcard models/$(NAME)/clients.cpp))
configure_and_build = cmake --preset $(1) --log-level=WARNING && cmake --build --preset $(1) --parallel $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help deps demo test long coverage properties tidy model-check orders check new-primitive mutants tsan asan soak kill-test bench lint docs install package clean tools

help:
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 17

deps: ## install the Debian or Ubuntu packages that the targets below need
	ci/deps.sh

demo: tools ## send a file (FILE=path) through shared memory, also past the death of who receives it
	$(call configure_and_build,release) --target readme send_file messages take_over
	build/release/examples/readme
	build/release/examples/send_file $(if $(FILE),"$(FILE)") $(ARGS)
	build/release/examples/take_over $(if $(FILE),"$(FILE)")

test: tools ## properties, examples, every model, lints: a few minutes
	ci/test.sh

properties: tools ## the part of `make test` that runs the library: properties, examples, the bench's own tests
	$(call configure_and_build,dev)
	ctest --preset dev --parallel $(JOBS)

long: tools ## properties, stress, models, kills: more cases, larger searches, other flags and seeds: hours; SEED=N to repeat it
	ci/long.sh $(SEED)

coverage: tools ## the lines of core/ that no property, stress test or example executes
	ci/coverage.py

model-check: tools ## every execution of scenarios and generated clients; ARGS="--help" lists options
	$(call configure_and_build,$(MODELS))
	build/$(MODELS)/models/model-check --compare-orders docs/orders.md $(ARGS)
	$(if $(ARGS),,build/$(MODELS)/models/clients-check --gtest_brief=1)

orders: tools ## write docs/orders.md: each memory order, and the scenario that fails without it
	$(call configure_and_build,model-check)
	build/model-check/models/model-check --write-orders docs/orders.md

check: tools ## what guards one primitive: its proofs, and the properties of what it stands on: NAME=spsc_ring
	@test -n "$(NAME)" || { echo "make check: expected NAME=x, the name of a primitive, found none" >&2; exit 2; }
	@test -f "models/$(NAME)/model.cpp" || { echo "make check: expected a primitive with its proofs, found no models/$(NAME)/model.cpp" >&2; exit 2; }
	$(call configure_and_build,dev) --target $(NAME)-guards
	$(call configure_and_build,model-check) --target $(NAME)-check $(clients_of_name)
	@# Each is run and heard, though another has failed.
	@failed=0; \
	ctest --test-dir build/dev --output-on-failure --no-tests=error --parallel $(JOBS) --tests-regex "$$(cat build/dev/$(NAME).guards)" || failed=1; \
	build/model-check/models/$(NAME)-check || failed=1; \
	for clients in $(clients_of_name); do build/model-check/models/$$clients --gtest_brief=1 || failed=1; done; \
	! grep -Hnw OWED core/shm/$(NAME).hpp models/$(NAME)/* */$(NAME)_*.cpp README.md || failed=1; \
	exit $$failed

new-primitive: tools ## lay a primitive and its proofs, to be filled in: NAME=x
	@tools/new_primitive.py "$(NAME)"

mutants: tools ## plant each known mistake and run what has to find it; ARGS=NAME plants some
	ci/mistakes.py --jobs $(JOBS) $(ARGS)

tsan: tools ## the scenarios with real threads, under ThreadSanitizer
	$(call configure_and_build,tsan)
	ctest --preset tsan

asan: tools ## properties and stress under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call configure_and_build,asan-ubsan)
	ctest --preset asan-ubsan --parallel $(JOBS)

soak: tools ## four processes share slots and are killed at random: SECONDS=60
	$(call configure_and_build,dev) --target treiber_slab_stress
	SHM_SOAK_SECONDS=$(SECONDS) build/dev/treiber_slab_stress --gtest_filter='soak.*' --gtest_brief=1

kill-test: tools ## processes are killed inside the operations of each primitive: KILLS=10000 SEED=1
	$(call configure_and_build,dev) --target kill-test
	build/dev/sanitizers/kill/kill-test --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: tools ## measure beside other queues, in a minute; ARGS="--help" lists the options
	$(call configure_and_build,bench) --target bench
	build/bench/bench/bench $(ARGS)
	$(if $(ARGS),,$(call configure_and_build,model-check) --target explore-speed)
	$(if $(ARGS),,build/model-check/checker/tests/explore-speed)

docs: ## the C++ reference, in build/docs/html
	ci/docs.sh

lint: tools ## formats, comments of ordered operations, clang-tidy, shellcheck
	ci/lint.sh
	ci/tidy.py

tidy: tools ## clang-tidy alone, and each header compiled alone
	ci/tidy.py

install: tools ## install the library: PREFIX=/usr/local
	$(call configure_and_build,release)
	cmake --install build/release --prefix "$(PREFIX)"

package: tools ## a .deb and a .tar.gz of the library, in build/packages/
	$(call configure_and_build,release)
	cmake --preset release --log-level=WARNING -B build/debian -DCMAKE_INSTALL_PREFIX=/usr \
	  -DCMAKE_INSTALL_DOCDIR=share/doc/libshm-primitives-dev
	cmake --build build/debian --parallel $(JOBS)
	umask 022 && cpack --config build/release/CPackConfig.cmake -G TGZ -B build/packages
	umask 022 && cpack --config build/debian/CPackConfig.cmake -G DEB -B build/packages

clean: ## remove build/
	rm -rf build

tools:
	@for tool in cmake ninja g++; do \
	  command -v $$tool >/dev/null || { echo "$$tool is not installed: ci/deps.sh installs what is needed" >&2; exit 1; }; \
	done
