"""Plugin packages that tests make and install as a user would: some that work, and some with each kind of fault."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.pip_install import installed_by_pip

PARROT = Path(__file__).parents[2] / "docs" / "examples" / "zwaif-parrot"

_BUILD = '[build-system]\nrequires = ["setuptools>=64"]\nbuild-backend = "setuptools.build_meta"\n'
_SETUP = """[metadata]
name = zwaif-{name}
version = {version}

[options]
py_modules = zwaif_{name}

[options.entry_points]
zwaif =
    {name} = zwaif_{name}
"""

CROW = """
from zwaif_hooks import ChatRequest, hookimpl

print("the crow is imported")  # the JSON of a command must stay JSON

@hookimpl(tryfirst=True)
def on_primary_failure(request: ChatRequest) -> str | None:
    said = request.messages[-1].content
    if said == "fail":
        raise OSError("the crow lost its voice")
    if said == "break off":
        return broken()
    return "Caw caw!" if said.startswith("Crow") else None

def broken():
    yield "Caw "
    raise OSError("the crow flew away")
"""
ABSENT = "import no_such_module_anywhere\n"
MISSPELT = """
from zwaif_hooks import Setting, hookimpl

@hookimpl
def register_settings():
    return Setting("MISSPELT_SIZE", 3, ""), Setting("CHAR_NAME", "Eve", "Taken.")

@hookimpl
def on_primary_failur(request):
    return "never"

@hookimpl
def say_while_waiting(request: str, failure) -> bytes:
    return b"never"
"""
SOURCES = {"crow": CROW, "absent": ABSENT, "misspelt": MISSPELT}


def install(folder: Path, sources: dict[str, str], *more: Path) -> Path:
    """Build a package of each source (and those in the folders ``more``) with pip. Return where they are installed."""
    packages = list(more)
    for name, code in sources.items():
        package = folder / "packages" / name
        package.mkdir(parents=True)
        (package / "pyproject.toml").write_text(_BUILD, encoding="utf-8")
        (package / "setup.cfg").write_text(_SETUP.format(name=name, version="1.2.3"), encoding="utf-8")
        (package / f"zwaif_{name}.py").write_text(code, encoding="utf-8")
        packages.append(package)
    return installed_by_pip(folder, *packages)
