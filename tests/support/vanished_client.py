"""A client that vanishes: its machine loses power, or its network."""

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
"""From `asm-generic/socket.h`; Python has no name for it."""

DROP_EVERY_PACKET = struct.pack("HBBI", 0x06, 0, 0, 0)
"""The program `ret #0` of the socket filter (Linux, `networking/filter.txt`)."""


def drop_packets(connection: socket.socket) -> None:
    """Let the kernel drop the packets that a socket receives: it acknowledges nothing."""
    program = ctypes.create_string_buffer(DROP_EVERY_PACKET)
    # one instruction, and its address
    descriptor = struct.pack("HL", 1, ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, descriptor)
