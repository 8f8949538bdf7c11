"""Which ports of this machine are listened on, from the system's table of TCP sockets.

Needed on Windows only, which retries a refused connection for two seconds; other systems report it at once. The table
is that of ``GetExtendedTcpTable`` (Windows API, iphlpapi.h); reading it takes a fraction of a millisecond.
"""

from __future__ import annotations

import socket
import struct
import sys

ROWS = {socket.AF_INET: struct.Struct(">4x4sH2x12x"), socket.AF_INET6: struct.Struct(">16s4xH2x32x")}
"""``MIB_TCPROW_OWNER_PID`` and ``MIB_TCP6ROW_OWNER_PID``: the local address and port, and what is skipped."""
OWNER_PID_LISTENER = 3
INSUFFICIENT_BUFFER = 122
TRIES = 5
"""The table may grow between the call that returns its size and the next call."""


def read_table(table: bytes, family: socket.AddressFamily) -> set[tuple[str, int]]:
    """Return address and port of each row of a table, which starts with the number of rows."""
    count = int.from_bytes(table[:4], "little")
    row = ROWS[family]
    rows = row.iter_unpack(table[4 : 4 + count * row.size])
    return {(socket.inet_ntop(family, address), port) for address, port in rows}


if sys.platform == "win32":

    def somebody_listens(address: str, port: int) -> bool:
        """Return whether a socket of this machine listens at ``address``; True if that is not known."""
        places = {(address, port), ("::", port)} | ({("0.0.0.0", port)} if ":" not in address else set())
        try:
            return any(places & read_table(_table(family), family) for family in ROWS)
        except OSError:
            return True

    def _table(family: int) -> bytes:
        """
        Raises:
            OSError: Windows does not return the table.
        """
        import ctypes

        ask = ctypes.WinDLL("iphlpapi").GetExtendedTcpTable
        size = ctypes.c_ulong(16384)
        error = INSUFFICIENT_BUFFER
        for _ in range(TRIES):
            table = ctypes.create_string_buffer(size.value)
            error = ask(table, ctypes.byref(size), False, int(family), OWNER_PID_LISTENER, 0)
            if error != INSUFFICIENT_BUFFER:
                break
        if error:
            raise OSError(error, "the table of TCP sockets cannot be read")
        return table.raw

else:

    def somebody_listens(address: str, port: int) -> bool:
        """Return True: not known here, and not needed."""
        return True
