"""The parts of the testing kit that need the fallback: the stand-in for Z-Waif, and a local model with a script."""

from zwaif_fallback.testing.fake_model import FakeModel
from zwaif_fallback.testing.standin_process import StandIn

__all__ = ["FakeModel", "StandIn"]
