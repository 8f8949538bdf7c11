"""A plugin with an engine. One of its models says no size, one is too big for any computer, and two are broken."""

from __future__ import annotations

from collections.abc import Iterator

import zwaif_hooks as zw

MODELS = (zw.EngineModel("tiny", 20_000_000, 2048), zw.EngineModel("unmeasured"), zw.EngineModel("huge", 10**15))


@zw.hookimpl
def register_engines() -> Iterator[zw.EngineSpec]:
    yield zw.EngineSpec("echo", MODELS, "zwaif_echo_engine:Echo")
    yield zw.EngineSpec("gone", [zw.EngineModel("tiny")], "zwaif_echo_engine:NoSuchThing")
    yield zw.EngineSpec("bad", [zw.EngineModel("tiny")], "zwaif_echo_engine:Broken")
