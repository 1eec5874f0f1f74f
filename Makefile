# make demo    set everything up and watch person masks arrive
# make test    set everything up and run every test
PYTHON ?= $(shell command -v python3.11 || command -v python3.13 || command -v python3)

.PHONY: venv
venv: .venv/.done

.venv/.done: setup.py
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -e '.[standin,video,usb,systemd,dev]'
	touch $@
