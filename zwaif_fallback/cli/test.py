"""``test``: whether the fallback works here, tried for real. The checks are in ``selftest``."""

from __future__ import annotations

from typing import Any

from zwaif_fallback.cli.options import Arguments, command, with_json, with_plugins_dir, with_zwaif


def add(commands: Any) -> None:
    help = "try it for real: settings, plugins, model, Z-Waif, switching models, Settings tab"
    with_plugins_dir(with_json(with_zwaif(command(commands, "test", _test, help))))


def _test(parsed: Arguments) -> int:
    from zwaif_fallback.cli import selftest
    from zwaif_fallback.zwaif_tree import zwaif_folder

    return selftest.run(zwaif_folder(parsed.zwaif), as_json=parsed.json, plugins_dir=parsed.plugins_dir)
