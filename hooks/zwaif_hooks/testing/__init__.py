"""Tools for the tests of plugins::

    from zwaif_hooks.testing import ask

    def test_the_parrot_answers():
        assert ask(zwaif_parrot, "Polly, hello").text == "Squawk! hello! hello! "

Fixtures for pytest are in :mod:`zwaif_hooks.testing.pytest_plugin`.
"""

from zwaif_hooks.testing.clock import FakeClock
from zwaif_hooks.testing.fake_host import FakeHost, Reply, ask, cut, refused, request
from zwaif_hooks.testing.fault_server import FaultServer

__all__ = ["FakeClock", "FakeHost", "FaultServer", "Reply", "ask", "cut", "refused", "request"]
