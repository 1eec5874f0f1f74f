"""The pytest plugin, used as somebody else's test suite would, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = "gnetsegd.testing.pytest_plugin"
SUITE = """
import pytest, usb.core

def test_found(gnetseg_device):
    assert usb.core.find(backend=gnetseg_device.backend, idVendor=0x1209).serial_number == "mock-0001"
    assert gnetseg_device.store.active is None

@pytest.mark.gnetseg_device(serial="sn-1", network="null", link_mbytes_per_s=26)
def test_marker(gnetseg_device):
    assert usb.core.find(backend=gnetseg_device.backend).serial_number == "sn-1"

def test_unplug(gnetseg_device):
    gnetseg_device.unplug()
    assert usb.core.find(backend=gnetseg_device.backend) is None
    gnetseg_device.plug()
    assert usb.core.find(backend=gnetseg_device.backend) is not None

def test_as_libusb(gnetseg_device):
    with gnetseg_device.as_libusb():
        assert usb.core.find(idVendor=0x1209).serial_number == "mock-0001"

def test_two(make_gnetseg_device):
    one, two = make_gnetseg_device(), make_gnetseg_device()
    found = {device.serial_number for device in usb.core.find(True, backend=two.backend)}
    assert found == {"mock-0001", "mock-0002"}

def test_fault(gnetseg_device):
    gnetseg_device.inject("permission")
    device = usb.core.find(backend=gnetseg_device.backend)
    with pytest.raises(usb.core.USBError):
        device.get_active_configuration()
    assert gnetseg_device.injected["permission"] == 1
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'firmware')!r}]\n"
        "import pytest\n"
        "sys.exit(pytest.main(sys.argv[1:]))\n"
    )
    return subprocess.run(
        # An older gnetsegd that is installed here would load it a second time, by its entry point.
        [sys.executable, "-c", code, "-p", "no:gnetsegd", "-p", "no:cacheprovider", "-q", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_somebody_elses_suite_gets_a_device_to_plug_unplug_and_spoil(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, "utf-8")
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = [{PLUGIN!r}]\n", "utf-8")
    result = run(tmp_path, "--strict-markers", "test_suite.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "6 passed" in result.stdout


@pytest.mark.parametrize("module", ["numpy", "usb", "gnetseg_device", "zmq"])
def test_the_plugin_imports_nothing_heavy_until_a_test_asks_for_it(module: str) -> None:
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(root)!r}]; import {PLUGIN}; print({module!r} in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert result.stdout.strip() == "False"
