"""Server-sent events from a ``requests`` response, for environments without sseclient-py."""

from types import SimpleNamespace


class SSEClient:
    def __init__(self, response):
        self._response = response

    def events(self):
        """One object with ``data`` for each event; only single-line ``data:`` fields are known here."""
        for line in self._response.iter_lines():
            if line.startswith(b"data:"):
                yield SimpleNamespace(data=line[5:].decode("utf-8").removeprefix(" "))
