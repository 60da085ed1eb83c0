"""A pytest plugin that installs the receive path, so that another project's tests run on top of it."""

from __future__ import annotations

import fcntl
import os
import socket
import struct

from services.dicom import pump

OWN_NETWORK = "KONZILIUM_OWN_NETWORK"
"""Set where the process has a network of its own, which starts with its loopback down."""

_SET_FLAGS, _UP = 0x8914, 0x41


def raise_loopback() -> None:
    """Bring 127.0.0.1 up (`ip link set lo up`)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", _UP))


if os.environ.get(OWN_NETWORK):
    raise_loopback()
pump.install()
