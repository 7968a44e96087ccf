# Millrace. `make run` and `make build` need Go and make alone; `make test`
# also needs a C compiler (for the race detector), Python (for its client), npm (for
# nsqjs) and, once, the registries of Go and npm for staticcheck, go-nsq,
# OpenTelemetry and nsqjs.

FUZZ ?= 10000x
SOAK ?= 10
BENCHFLAGS ?=
CLIENTBENCHFLAGS ?=
PIPELINEBENCHFLAGS ?=
LEVELS ?= memory disk fsync
PREFIX ?= /usr/local
DESTDIR ?=
PROGRAM_PREFIX ?=
BUILD ?= build

# A check is silent unless it fails: then it says everything and make ends.
quiet = out=$$($(1) 2>&1) || { printf '%s\n' "$$out"; exit 1; }
# Of two steps at a time one waits until the other has installed what it needs.
apt = apt-get -o DPkg::Lock::Timeout=600 install -y
staticcheck = go tool -modfile=$(1)internal/tools/go.mod staticcheck
# Packages whose tests run under the race detector; the end-to-end tests watch
# other processes and have a step of their own, as has the clients' conformance.
packages = $$(go list ./... | grep -v -e '/internal/e2e$$' -e '/internal/e2e/install$$' -e '/internal/e2e/cluster$$' -e '/internal/e2e/clients$$' -e '/internal/e2e/browser$$' -e '/internal/e2e/scripts$$' -e '/internal/e2e/packages$$' -e '/internal/e2e/docs$$' -e '/clients/conformance$$')

.PHONY: build install install-built uninstall names dist packages reproducible run test check format vet staticcheck gosec race shells interpreter conformance fuzz python e2e scripts cluster clients browser otel nsqjs gonsq documents bench soak clean

build:
	@echo 'building the programs into $(BUILD)/'
	@mkdir -p '$(BUILD)'
	@go build -o '$(BUILD)/' ./apps/...

# PROGRAM=NAME for each program and the name that it is installed by: tail and stat must
# not hide the system's. PROGRAM_PREFIX stands before every name.
names = $(foreach p,$(patsubst apps/%/main.go,%,$(wildcard apps/*/main.go)),$(p)=$(or $(PROGRAM_PREFIX),$(if $(filter tail stat,$(p)),millrace-))$(p))
bin = $(DESTDIR)$(PREFIX)/bin
share = $(DESTDIR)$(PREFIX)/share
bashdir = $(share)/bash-completion/completions
zshdir = $(share)/zsh/site-functions
fishdir = $(share)/fish/vendor_completions.d

# Whoever becomes root for this may have no Go there: then what is built is installed. A
# program tells its man page and completion itself, by the name it has been given.
install:
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory build; else echo 'without Go: what is in $(BUILD)/ is installed'; fi
	@$(MAKE) --no-print-directory install-built

install-built:
	@echo 'installing into $(DESTDIR)$(PREFIX)'
	@mkdir -p '$(bin)' '$(share)/man/man1' '$(bashdir)' '$(zshdir)' '$(fishdir)'
	@set -e; for pair in $(names); do \
		name=$${pair#*=}; program='$(bin)'/$$name; \
		install -m 755 '$(BUILD)'/$${pair%%=*} "$$program"; \
		"$$program" --man >'$(share)/man/man1'/$$name.1; \
		"$$program" --completion bash >'$(bashdir)'/$$name; \
		"$$program" --completion zsh >'$(zshdir)'/_$$name; \
		"$$program" --completion fish >'$(fishdir)'/$$name.fish; \
	done

# For deploy/dist.sh.
names:
	@printf '%s\n' $(names)

uninstall:
	@echo 'removing what was installed into $(DESTDIR)$(PREFIX)'
	@for pair in $(names); do \
		name=$${pair#*=}; \
		rm -f '$(bin)'/$$name '$(share)/man/man1'/$$name.1 '$(bashdir)'/$$name '$(zshdir)'/_$$name '$(fishdir)'/$$name.fish; \
	done

run: build
	@exec build/standalone

# The steps that watch other programs wait more than they work: two at a time.
watching = python e2e scripts cluster clients browser otel nsqjs gonsq packages documents

test: check race shells conformance fuzz
	@$(MAKE) --no-print-directory -j2 $(watching)
	@echo 'all tests passed'

check: format vet staticcheck gosec

format:
	@echo 'checking the formatting'
	@out=$$(gofmt -l .) && [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }

vet:
	@echo 'vetting'
	@$(call quiet,go vet ./...)

staticcheck:
	@echo 'running staticcheck'
	@$(call quiet,$(call staticcheck) ./...)

# As a tool of vet it looks at a package again only when that has changed; the first time
# it takes a minute or two. The tool knows no commit (buildvcs), or each would have it begin
# anew. No rule is off: answers stand beside the code (#nosec).
gosec:
	@echo 'running gosec'
	@$(call quiet,go build -C internal/tools -buildvcs=false -o '$(CURDIR)/build/tools/gosec' ./gosec)
	@$(call quiet,go vet -vettool='$(CURDIR)/build/tools/gosec' ./...)

# The race detector needs a C compiler. Where there is none and none can be
# installed, the tests run without it, which only CI (CI=true) takes for a
# failure.
race:
	@command -v zstd >/dev/null || { [ "$$(id -u)" = 0 ] && $(apt) zstd >/dev/null 2>&1; } || true
	@command -v gcc >/dev/null || { [ "$$(id -u)" = 0 ] && $(apt) gcc libc6-dev >/dev/null 2>&1; } || true
	@if command -v gcc >/dev/null; then \
		echo 'testing with the race detector, in shuffled order'; \
		$(call quiet,go test -race -shuffle=on $(packages)); \
	elif [ "$$CI" = true ]; then echo 'the race detector needs gcc'; exit 1; \
	else echo 'skipped: the race detector needs gcc; testing without it'; $(call quiet,go test -shuffle=on $(packages)); fi

# What is told to shells and formatters is tried with those that there are. Only bash has
# to be there, in CI (CI=true).
shells:
	@[ "$$(id -u)" != 0 ] || for program in zsh fish groff mandoc; do command -v $$program >/dev/null || $(apt) $$program >/dev/null 2>&1 || true; done
	@echo 'installing into a directory; completing in bash, zsh and fish'
	@out=$$(go test -count=1 -v ./internal/program/help ./internal/e2e/install 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' | sort -u || true

# Python is installed where that is possible. Without one that is recent enough, what
# needs it says so in a line, which only CI (CI=true) takes for a failure.
interpreter:
	@command -v python3 >/dev/null || { [ "$$(id -u)" = 0 ] && $(apt) python3 >/dev/null 2>&1; } || true

# The clients of all languages.
conformance: interpreter
	@echo 'playing the conformance scenarios with each client'
	@race=$$(command -v gcc >/dev/null && echo -race); \
	out=$$(go test $$race -count=1 -v ./clients/conformance 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' || true

# One run of the fuzzer takes one function, so each is found and run in turn. It
# counts inputs: a run that is given a time may report its own deadline as a
# failure. FUZZ=30s looks for longer, at that risk.
fuzz:
	@echo 'fuzzing each parser, $(FUZZ)'
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		list=$$(go test -list '^Fuzz' $$dir) || { echo "$$list"; exit 1; }; \
		for name in $$(echo "$$list" | grep '^Fuzz'); do \
			$(call quiet,go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ) -fuzzminimizetime 1000x $$dir); \
		done; \
	done

e2e:
	@echo 'testing the programs end to end, with over a million lines of real text'
	@out=$$(go test -count=1 -timeout 15m -v -skip '^TestNsqjs$$' ./internal/e2e 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' || true

# Each scenario waits more than it works: several are played at a time.
scripts: build
	@echo 'playing the scenarios of the helper programs'
	@$(call quiet,MILLRACE_PROGRAMS="$(CURDIR)/build" go test -count=1 -parallel 4 ./internal/e2e/scripts)

# Namespaces and TUN devices may be missing, which only CI (CI=true) takes for a
# failure. The clients are in the test's process, where the race detector sees them.
cluster: build
	@echo 'testing a cluster on a network that is cut, slow and torn'
	@race=$$(command -v gcc >/dev/null && echo -race); \
	out=$$(MILLRACE_PROGRAMS="$(CURDIR)/build" go test $$race -count=1 -v ./internal/e2e/cluster 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' | sort -u || true

# Go's client is in the test's process, where the race detector sees it. MILLRACE_BROKERS
# names brokers that run already, for the scenarios: host:port[/httphost:port],...
clients: build interpreter
	@echo 'testing both clients against daemons that are killed, away, or many'
	@race=$$(command -v gcc >/dev/null && echo -race); \
	out=$$(MILLRACE_PROGRAMS="$(CURDIR)/build" go test $$race -count=1 -v ./internal/e2e/clients 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' | sort -u || true

# Chromium and axe-core may be missing, which only CI (CI=true) takes for a failure.
# Pictures of all pages are left in build/screenshots.
browser: build
	@for program in chromium npm; do command -v $$program >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && $(apt) $$program >/dev/null 2>&1; } || true; done
	@mkdir -p build/axe build/screenshots
	@if out=$$([ build/axe/node_modules/.package-lock.json -nt internal/e2e/browser/axe/package-lock.json ] || \
		{ cp internal/e2e/browser/axe/package*.json build/axe/ && cd build/axe && npm ci --prefer-offline --no-audit --no-fund; } 2>&1); then :; \
	elif [ "$$CI" = true ]; then echo "$$out"; exit 1; \
	else echo 'skipped: axe-core cannot be installed; nobody looks for barriers on the pages'; rm -rf build/axe/node_modules; fi
	@echo 'testing the admin UI in Chromium'
	@axe="$(CURDIR)/build/axe/node_modules/axe-core/axe.min.js"; [ -f "$$axe" ] || axe=; \
	out=$$(MILLRACE_PROGRAMS="$(CURDIR)/build" MILLRACE_AXE="$$axe" MILLRACE_SCREENSHOTS="$(CURDIR)/build/screenshots" \
		go test -count=1 -timeout 15m -v ./internal/e2e/browser 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' || true

# The example is a module of its own: OpenTelemetry is no dependency of ours.
otel:
	@echo 'testing the example for OpenTelemetry'
	@cd clients/go/examples/otel && \
	if out=$$(go mod download 2>&1); then \
		$(call quiet,go vet ./... && $(call staticcheck,../../../../) ./... && go test -count=1 ./...); \
	elif [ "$$CI" = true ]; then echo "$$out"; exit 1; \
	else echo 'skipped: OpenTelemetry cannot be downloaded'; fi

# npm and nsqjs may be missing, which only CI (CI=true) takes for a failure. What
# npm has installed stays until what is to be installed changes.
nsqjs: build
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && $(apt) nodejs npm >/dev/null 2>&1; } || true
	@mkdir -p build/nsqjs
	@if out=$$([ build/nsqjs/node_modules/.package-lock.json -nt internal/e2e/nsqjs/package-lock.json ] || \
		{ cp internal/e2e/nsqjs/package*.json build/nsqjs/ && cd build/nsqjs && npm ci --prefer-offline --no-audit --no-fund; } 2>&1); then \
		echo 'testing against nsqjs'; \
		$(call quiet,MILLRACE_PROGRAMS="$(CURDIR)/build" MILLRACE_NODE_MODULES="$(CURDIR)/build/nsqjs/node_modules" \
			go test -count=1 -v -run '^TestNsqjs$$' ./internal/e2e); \
		printf '%s\n' "$$out" | grep -o 'nsqjs: .*'; \
	elif [ "$$CI" = true ]; then echo "$$out"; exit 1; \
	else echo 'skipped: nsqjs cannot be installed'; fi

# A module of its own: go-nsq is no dependency of ours. Without the network its
# sources may be missing, and somebody may listen on NSQ's default ports, which
# its own tests need: only CI (CI=true) takes either for a failure.
gonsq: build
	@echo 'testing against go-nsq'
	@cd internal/e2e/gonsq && \
	if out=$$(go mod download 2>&1); then \
		$(call quiet,go vet ./... && $(call staticcheck,../../../) ./... && MILLRACE_PROGRAMS="$(CURDIR)/build" go test -count=1 -v ./...); \
		printf '%s\n' "$$out" | grep -o -e 'skipped: .*' -e "go-nsq's own tests: .*" || true; \
	elif [ "$$CI" = true ]; then echo "$$out"; exit 1; \
	else echo 'skipped: go-nsq cannot be downloaded'; fi

# Every command of README.md and docs/, in machines of their own: namespaces may be missing,
# which only CI (CI=true) takes for a failure. What is not run is said, and why.
documents: build interpreter
	@for program in curl jq zsh; do command -v $$program >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && $(apt) $$program >/dev/null 2>&1; } || true; done
	@echo 'running every command of the documents'
	@out=$$(MAKEFLAGS= MILLRACE_PROGRAMS="$(CURDIR)/build" go test -count=1 -parallel 8 -v ./internal/e2e/docs 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o -e 'skipped: .*' -e 'not run: .*' -e 'the documents have .*' | sort -u || true

python: interpreter
	@if command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then \
		echo 'testing the Python client'; cd clients/python && $(call quiet,python3 -W error -m unittest); \
	elif [ "$$CI" = true ]; then echo 'the Python client needs python3, 3.10 or later'; exit 1; \
	else echo 'skipped: the Python client needs python3, 3.10 or later'; fi

# What can be tried of deploy/ without a cluster: units, packages, the image's root, chart.
# Tools and programs are compiled once; docker, helm's and systemd's programs may be missing,
# which only CI (CI=true) takes for a failure.
packages: build
	@command -v logrotate >/dev/null || { [ "$$(id -u)" = 0 ] && $(apt) logrotate >/dev/null 2>&1; } || true
	@echo 'making and installing packages; checking units, image, compose file and chart'
	@out=$$(MAKEFLAGS= MILLRACE_PROGRAMS="$(CURDIR)/build" go test -count=1 -v ./internal/e2e/packages 2>&1) || { printf '%s\n' "$$out"; exit 1; }; \
	printf '%s\n' "$$out" | grep -o 'skipped: .*' | sort -u || true

# Everything that is released, in build/dist.
dist:
	@deploy/dist.sh

# dist, twice: the second time from a copy of the source, with nothing compiled before.
reproducible:
	@deploy/reproducible.sh

# Every level has a table of its own, our own clients and the helper programs one each
# at level disk, and the disk a line.
bench: build
	@build/bench disk --dir .
	@for level in $(LEVELS); do echo "## $$level"; \
	build/bench all --start "build/qd --durability $$level" --tcp-address=127.0.0.1:24150 --http-address=127.0.0.1:24151 $(BENCHFLAGS) || exit 1; done
	@echo '## clients'
	@build/bench clients --start 'build/qd --durability disk' $(CLIENTBENCHFLAGS)
	@echo '## pub and to_file'
	@build/bench pipeline --start 'build/qd --durability disk' --dir build $(PIPELINEBENCHFLAGS)

soak:
	@echo 'sending text through the programs while qd is stopped and started, for $(SOAK) minutes; killing qd again and'
	@echo 'again, for as long; ten million deferred messages; a backlog of 5 GB; a cluster on a torn network, for as long; both'
	@echo 'clients while daemons are killed, for as long'
	@SOAK=$(SOAK) go test -count=1 -timeout 0 -p 1 -run '^TestSoak' -v ./internal/e2e ./internal/e2e/cluster ./internal/e2e/clients

clean:
	@rm -rf build
