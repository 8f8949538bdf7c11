"""Who listens on this machine, from the system's own table of TCP sockets.

Only Windows has to be asked: it tries a refused connection again for two seconds, while other systems say so at once.
The table is that of ``GetExtendedTcpTable`` (Windows API, iphlpapi.h); a look takes a fraction of a millisecond.
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
"""The table may grow between the question for its size and the next one."""


def read_table(table: bytes, family: socket.AddressFamily) -> set[tuple[str, int]]:
    """Address and port of each row of a table, which begins with their number."""
    count = int.from_bytes(table[:4], "little")
    row = ROWS[family]
    rows = row.iter_unpack(table[4 : 4 + count * row.size])
    return {(socket.inet_ntop(family, address), port) for address, port in rows}


if sys.platform == "win32":

    def somebody_listens(address: str, port: int) -> bool:
        """Whether a socket of this machine accepts connections to ``address``; True as well where that is not known."""
        places = {(address, port), ("::", port)} | ({("0.0.0.0", port)} if ":" not in address else set())
        try:
            return any(places & read_table(_table(family), family) for family in ROWS)
        except OSError:
            return True

    def _table(family: int) -> bytes:
        """
        Raises:
            OSError: Windows does not say.
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
        """Not known without a table, and not needed."""
        return True
