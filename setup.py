"""How gnetsegd is installed: the packages, their extras, the entry points."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "gnetsegd" / "__init__.py").read_text("utf-8"))
assert VERSION is not None

# The lower bounds are what Debian bookworm has (python3-zmq, python3-usb, ...): they are tested.
CONFIGURATION = ["attrs>=22.2", "cattrs>=22.2"]
TOOLS = ["click>=8.1.3", "rich>=13.3.1"]
STANDIN, VIDEO, USB = ["ai-edge-litert>=2.0"], ["av>=10.0"], ["pyusb>=1.2.1"]

# Without extras it is the client: what a robot needs to read masks.
EXTRAS = {
    "tools": [*CONFIGURATION, *TOOLS],
    "daemon": [*CONFIGURATION, *TOOLS, *STANDIN, *VIDEO, *USB],
    "standin": STANDIN,
    # The older runtime has no wheel after Python 3.11 and needs numpy < 2 without saying so.
    "tflite-runtime": [
        "tflite-runtime==2.14.0; python_version < '3.12'",
        "numpy<2; python_version < '3.12'",
    ],
    "video": VIDEO,
    "usb": USB,
    "systemd": ["systemd-python>=235"],
    # The services, each a process of its own: gnetsegctl view, presence and exporter.
    "view": ["aiohttp>=3.8.4", "pillow>=9.4", "segno>=1.5.2"],
    "presence": ["paho-mqtt>=1.6.1"],
    "exporter": ["prometheus-client>=0.16.0"],
    # Many machines: gnetsegctl zenoh and fleet. Debian has none.
    "zenoh": ["eclipse-zenoh>=1.0"],
    # To test them: a browser, which Debian brings along, is driven by this.
    "services": ["playwright>=1.40"],
    "dev": [
        "foxglove-schemas-protobuf>=0.3",
        "hypothesis>=6.100",
        "mcap>=1.2",
        "mypy>=1.11",
        "pillow>=10.1",
        "pytest>=8.0",
        "pytest-rerunfailures>=14.0",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "rosbags>=0.10",
        "ruff>=0.6",
        "setuptools>=65",
        "wheel>=0.40",
    ],
    # To compare with, and as a teacher: the last wheel that contains the network. Pins numpy < 2,
    # so it needs an environment of its own; nothing else imports it.
    "peer": [
        "mediapipe==0.10.21",
        "pillow>=10.1",
    ],
    "train": [
        "ai-edge-litert>=2.0",
        "opencv-python-headless>=4.8",
        "tomli_w>=1.0",
        "pillow>=10.1",
        "tensorflow-cpu==2.21.*",
        "tf_keras==2.21.*",
        "torch==2.13.0",
    ],
}

ZOO = find_packages("tools", include=["gnetseg_zoo", "gnetseg_zoo.*"])
FIRMWARE = ("gnetseg_device", "gnetseg_conform")
DEVICE = find_packages("firmware", include=[*FIRMWARE, *(f"{name}.*" for name in FIRMWARE)])

setup(
    name="gnetsegd",
    version=VERSION.group(1),
    description="Person masks from a camera, on ZeroMQ, in every frame",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Video :: Capture",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["gnetsegd", "gnetsegd.*"]), *ZOO, *DEVICE],
    package_dir={"gnetseg_zoo": "tools/gnetseg_zoo", **{name: f"firmware/{name}" for name in FIRMWARE}},
    package_data={
        "gnetsegd": [
            "py.typed",
            "models/*/*",
            "services/view/static/*",
            "services/record/foxglove_schemas/*",
            "vendor/mcap/LICENSE",
        ],
        # Links to docs/ and tests/vectors/: a package has copies of what they point to.
        "gnetseg_conform": ["protocol.md", "transcripts/*.jsonl"],
        "gnetseg_zoo": ["configs/*.toml", "selfie/configs/*.toml"],
    },
    install_requires=["numpy>=1.24", "pyzmq>=24.0.1"],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "gnetsegd = gnetsegd.__main__:main",
            "gnetsegctl = gnetsegd.ctl.__main__:main",
            "gnetseg-mockdev = gnetseg_device.mockdev:main",
            "gnetseg-gadget = gnetseg_device.functionfs_main:main",
            "gnetseg-conform = gnetseg_conform.main:main",
        ],
        "gnetsegd.cameras": [
            "auto = gnetsegd.cameras.auto:AutoCamera",
            "pattern = gnetsegd.cameras.pattern:PatternCamera",
            "recorded = gnetsegd.cameras.recorded:RecordedCamera",
            "picamera2 = gnetsegd.cameras.picamera2:Picamera2Camera",
            "v4l2 = gnetsegd.cameras.v4l2:V4l2Camera",
            "video = gnetsegd.cameras.video:VideoCamera",
            "network = gnetsegd.cameras.network:NetworkCamera",
        ],
        "gnetsegd.accelerators": [
            "auto = gnetsegd.accelerators.auto:AutoAccelerator",
            "usb = gnetsegd.accelerators.usb:UsbAccelerator",
            "standin = gnetsegd.accelerators.standin:StandinAccelerator",
        ],
    },
)
