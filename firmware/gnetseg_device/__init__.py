"""The device side of the USB link (docs/protocol.md), and a mock device for tests (docs/mock-device.md).

``engine`` is the protocol's state machine, bytes in and bytes out. ``port`` puts it behind one USB
port: power, halted endpoints, the pace of the bus, injected faults. Around that the transports:
``pyusb_backend`` in the same process, ``usbip_server`` for Linux's vhci-hcd.
"""
