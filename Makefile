# make demo    set everything up and watch person masks arrive (DEMO_SECONDS=10)
# make test    set everything up and run every test
# make test-train   the tests of training and export: needs PyTorch and TensorFlow, 3 GB
# make test-services   the tests that talk to real servers of Debian's packages: RTSP, RTMP
# make fuzz    hostile input for a minute
# make hil     checks on real kernels, in an emulated machine
# make hil-pi  checks on an emulated Raspberry Pi 3B
# make deb     the packages for Debian and Raspberry Pi OS, in build/deb
# make test-install   install them in booted machines, use them, upgrade, remove
# make release the packages, the sdist and the wheel with their checksums, in build/release
# make site    the pages as a site, in build/site
# make check   the linters alone
# make docs    write the generated pages again

PYTHON ?= $(shell for p in python3.11 python3.13 python3.12 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
DEMO_SECONDS ?= 10
# Tests wait more than they compute: three files at a time use two cores.
SIDE_BY_SIDE = -n 3 --dist loadfile
SERVICES = view,presence,exporter,zenoh
PIP_INSTALL = bin/pip install --quiet --disable-pip-version-check

.PHONY: site deb test-install release demo test test-train test-services test-browser test-delays fuzz soak hil hil-shell hil-pi hil-pi-shell check docs venv clean

demo: .venv/.done
	@.venv/bin/python tools/demo/demo.py --seconds $(DEMO_SECONDS)

# The same tests on three sets of packages: both TFLite runtimes with the newest numpy that the older one
# takes, LiteRT with numpy 2, and the versions of Debian bookworm with tflite-runtime alone.
test: .venv/.done .venv-litert/.done .venv-bookworm/.done examples/node_modules/.done check
	.venv/bin/python -m pytest $(SIDE_BY_SIDE)
	.venv-litert/bin/python -m pytest $(SIDE_BY_SIDE) -m "runtime"
	.venv-bookworm/bin/python -m pytest $(SIDE_BY_SIDE) -m "runtime"

# Training and export need PyTorch and TensorFlow (about 3 GB): their tests run apart. They also run
# what they export under the other TFLite runtime, which is in .venv.
test-train: .venv-train/.done .venv/.done
	.venv-train/bin/python -m pytest tests/zoo

# Hostile films, photos, streams and webcams for a minute.
fuzz: .venv/.done
	.venv/bin/python tools/fuzz/inputs.py --seconds 60 --json

# Against real servers (GStreamer's RTSP server, ffmpeg), which Debian's packages bring along: docs/testing.md.
test-services: .venv/.done
	@tools/setup/services-packages.sh
	GNETSEGD_SERVICES=1 .venv/bin/python -m pytest tests/services --ignore tests/services/test_browser.py

# The page in a real browser.
test-browser: .venv/.done
	@tools/setup/services-packages.sh chromium
	GNETSEGD_SERVICES=1 .venv/bin/python -m pytest tests/services/test_browser.py

# The plain tests while sockets, pipes and files answer late: what hangs on one thread being quicker than another
# fails here. No promise, so not in .ci/run: a test that bounds a time may fail with these delays.
test-delays: .venv/.done
	@mkdir -p build
	cc -O2 -shared -fPIC -o build/delays.so tools/fuzz/delays.c
	LD_PRELOAD=$(CURDIR)/build/delays.so .venv/bin/python -m pytest $(SIDE_BY_SIDE)

# The USB road over a mock device that fails at random.
soak: .venv/.done
	.venv/bin/python tools/bench/soak.py --frames 30000 --fault-rate 0.003 --seed 1 --json
	.venv/bin/python tools/bench/recovery.py --only kill-9 --only replug --only camera-flaps --json

# On real kernels, in an emulated Debian machine (docs/testing.md): K=NAMES for some checks only.
hil: .venv/.done
	@tools/setup/hil-packages.sh
	.venv/bin/python tools/hil/run.py $(if $(K),-k "$(K)")
	$(if $(K),,.venv/bin/python tools/hil/power_cut.py)

hil-shell: .venv/.done
	@tools/setup/hil-packages.sh
	.venv/bin/python tools/hil/run.py --shell

# On an emulated Raspberry Pi 3B (docs/testing.md): K=NAMES for some checks only. The environment is that of
# the Pi's own versions: masks are compared bit by bit, and TFLite's differ from one version to the next.
hil-pi: .venv-bookworm/.done
	@tools/hil/pi/system-packages.sh
	@.venv-bookworm/bin/python tools/hil/pi/run.py $(if $(K),-k "$(K)")

hil-pi-shell: .venv-bookworm/.done
	@tools/hil/pi/system-packages.sh
	@.venv-bookworm/bin/python tools/hil/pi/run.py --shell

# Packages for bookworm and trixie, amd64 and arm64; needs root, for the roots that they are built in.
deb: .venv/.done
	@tools/setup/deb-packages.sh
	PYTHON=$(CURDIR)/.venv/bin/python tools/deb/build.sh bookworm
	PYTHON=$(CURDIR)/.venv/bin/python tools/deb/build.sh trixie

# In booted Debian roots without a network (docs/testing.md): K=NAMES for some checks only.
test-install: .venv/.done
	@test -e build/deb/trixie/Packages || $(MAKE) deb
	.venv/bin/python tools/deb/test_install.py $(if $(K),"$(K)")

release: deb
	@rm -rf build/release && mkdir -p build/release
	cp build/deb/*/*.deb build/release
	.venv/bin/python tools/deb/dist.py build/release
	cd build/release && sha256sum * >SHA256SUMS

check: .venv/.done
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# mkdocs-material in an environment of its own; every link is looked at.
site: .venv-site/.done
	.venv-site/bin/python tools/site/gather.py build/site-pages
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs --quiet build --strict --config-file tools/site/mkdocs.yml
	.venv-site/bin/python tools/site/check_links.py build/site

docs: .venv/.done
	.venv/bin/python -m gnetsegd.config_doc > docs/configuration.md

venv: .venv/.done

.venv/.done: setup.py tools/setup/system-packages.sh
	@tools/setup/system-packages.sh
	@tools/setup/new-venv.sh .venv "$(PYTHON)"
	.venv/$(PIP_INSTALL) -e '.[daemon,tflite-runtime,video,usb,systemd,$(SERVICES),services,dev]'
	@touch $@

.venv-litert/.done: setup.py tools/setup/system-packages.sh
	@tools/setup/system-packages.sh
	@tools/setup/new-venv.sh .venv-litert "$(PYTHON)"
	.venv-litert/$(PIP_INSTALL) -e '.[daemon,video,usb,systemd,$(SERVICES),dev]'
	@touch $@

.venv-bookworm/.done: setup.py tools/setup/system-packages.sh tools/setup/bookworm.txt
	@tools/setup/system-packages.sh
	@tools/setup/new-venv.sh .venv-bookworm python3.11
	.venv-bookworm/$(PIP_INSTALL) -c tools/setup/bookworm.txt -e '.[tools,tflite-runtime,video,usb,systemd,$(SERVICES),dev]'
	@touch $@

.venv-train/.done: setup.py tools/setup/system-packages.sh
	@tools/setup/system-packages.sh
	@tools/setup/new-venv.sh .venv-train python3.11
	.venv-train/$(PIP_INSTALL) -e '.[daemon,dev,train]'
	@touch $@

.venv-site/.done: tools/site/requirements.txt tools/setup/system-packages.sh
	@tools/setup/system-packages.sh
	@tools/setup/new-venv.sh .venv-site "$(PYTHON)"
	.venv-site/$(PIP_INSTALL) -r tools/site/requirements.txt
	@touch $@

# For the test of the JavaScript example; without npm that test says that it was skipped.
examples/node_modules/.done:
	@mkdir -p examples/node_modules
	@if command -v npm >/dev/null; then npm install --prefix examples --no-save --silent zeromq@6; fi
	@touch $@

clean:
	rm -rf .venv .venv-litert .venv-bookworm .venv-train build examples/node_modules
