"""Who says the texts about settings, ``.env`` and the command line."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tests.helpers.scenes import Scene, says
from zwaif_fallback import settings
from zwaif_fallback.addresses import host_problem
from zwaif_fallback.answering.second_server import SecondServerClient
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.cli import main, plugin_new, plugins
from zwaif_fallback.demo import play, zwaif_copy
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.zwaif_tree import model_setting, require_zwaif_folder, zwaif_folder
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import Setting, SettingsStore

# --- settings and .env ------------------------------------------------------------------------------------------------

says("…, but it must be …")(lambda scene: scene.store().set("API_FALLBACK_STALL_TIMEOUT", "soon"))
says("There is no setting …")(lambda scene: scene.store().setting("API_FALLBACK_ENABLD"))
says("Fallback Host is …, but it must look like 127.0.0.1:8080 or http://127.0.0.1:8080.")(
    lambda scene: host_problem("some where")
)
says("… is your main server. The second server must be a different one, used when that is down.")(
    lambda scene: host_problem("localhost:5000", ["127.0.0.1:5000"])
)
says("API_FALLBACK_HOST … is not an address.")(lambda scene: SecondServerClient("some where"))
says("The second server … is not asked: …")(lambda scene: SecondServerClient("8.8.8.8:80"))


@says("… is saved as UTF-16, which Z-Waif cannot read. Save it as UTF-8 in your editor.")
def _(scene: Scene) -> object:
    return env_file.read(scene.env_file("A = 1\n".encode("utf-16")))


@says("… is now …, but only until Z-Waif ends. …")
def _(scene: Scene) -> object:
    store = SettingsStore(settings.SETTINGS, scene.env_file(), {"API_FALLBACK_THREADS": "2"}, say=scene.say)
    return store.set("API_FALLBACK_THREADS", 3)


@says("… is read-only. Allow writing to it, or change the line in it by hand.")
def _(scene: Scene) -> object:
    path = scene.env_file()
    path.chmod(0o444)
    return env_file.write(path, "A", "2")


@says("… cannot be written (…). Close other programs that have it open; check the folder's permissions and free space.")
def _(scene: Scene) -> object:
    return env_file.write(scene.folder / "gone" / ".env", "A", "2")


@says("… cannot be read (…). Check that it is a file you own.")
def _(scene: Scene) -> object:
    (scene.folder / ".env").mkdir()
    return env_file.read(scene.folder / ".env")


@says("… could not be saved: a line of … opens a quote and never closes it.")
def _(scene: Scene) -> object:
    return env_file.write(scene.env_file(b"A = 'x\n"), "B", "it's 'a' \"b\"")


@says("… was not changed: another program keeps writing it. Try again in a moment.")
def _(scene: Scene) -> object:
    scene.patch.setattr(env_file, "_replace", lambda path, data, seen: False)
    return env_file.write(scene.env_file(), "A", "2")


# --- settings of plugins ----------------------------------------------------------------------------------------------

_KEY = Setting("WEATHER_KEY", "", "A key.", secret=True)
says("Plugin …: its setting … is left out: …")(
    lambda scene: scene.store().register("weather", [Setting("CHAR_NAME", "", "A name.")])
)
says("The setting … is left out: it is a key of Z-Waif's own")(
    lambda scene: scene.store().extend([Setting("CHAR_NAME", "", "A name.")])
)


def _with_weather(scene: Scene) -> SettingsStore:
    store = SettingsStore(settings.SETTINGS, scene.env_file(b"WEATHER_KYE = 1\n"), {}, say=scene.say)
    store.register("weather", [_KEY])
    return store


says("There is no plugin …; …")(lambda scene: plugins.block("falback", copy_tree(scene.folder / "z-waif", {})))
says("The built-in plugin is tried with: zwaif-fallback chat")(
    lambda scene: main.main(["plugins", "try", "fallback", "Hello"])
)
says("… is no name for a plugin: use lower-case letters, digits and hyphens.")(
    lambda scene: plugin_new.make("My Parrot", scene.folder)
)
says("There is already a plugin … or a module …. Choose another name.")(
    lambda scene: plugin_new.make("hooks", scene.folder)
)
says("… exists already. Choose another name, or another folder with --in.")(
    lambda scene: [plugin_new.make("my-parrot", scene.folder) for _ in range(2)]
)
says("… is not blocked in ….env.")(lambda scene: plugins.unblock("fallback", copy_tree(scene.folder / "z-waif", {})))
says("… is not a setting of plugin …")(lambda scene: _with_weather(scene).mistyped())
says("… is a secret: read it with settings.secret(SETTING), which needs its Setting")(
    lambda scene: _with_weather(scene).get("WEATHER_KEY")
)
says("… can only be read with the Setting object that its plugin registered")(
    lambda scene: _with_weather(scene).secret(replace(_KEY))
)
says("No plugin called … has settings.")(lambda scene: main.main(["settings", "docs", "nobody"]))

# --- the command line -------------------------------------------------------------------------------------------------


says("This is not a Z-Waif folder. Run the command in Z-Waif's folder, or add --zwaif FOLDER")(
    lambda scene: require_zwaif_folder(None)
)
says("… Give the folder that holds Z-Waif's main.py.")(lambda scene: zwaif_folder(str(scene.folder)))
says("… is not a Z-Waif folder: it has no …. Give the folder that holds main.py.")(
    lambda scene: zwaif_copy.prepare(scene.folder, scene.folder / "scratch", {}, {})
)


@says("… is a Z-Waif older than v1.9, which uses one fixed port.")
def _(scene: Scene) -> object:
    tree = copy_tree(scene.folder / "old", {})
    (tree / "API" / "api_controller.py").unlink()
    return zwaif_copy.prepare(tree, scene.folder / "scratch", {}, {})


@says("Neither the second server nor the local model gave a reply.")
def _(scene: Scene) -> object:
    local: Any = SimpleNamespace(loaded=None)
    service = FallbackService(Collaborators(scene.store(), local, lambda *_: None, scene.say))
    return list(service.controls._or_problem([], None))


says("The list of models has no number …")(lambda scene: model_setting("99", None, {}))


@says("To download it: zwaif-fallback download --yes. To see the others: zwaif-fallback models")
def _(scene: Scene) -> object:
    scene.patch.setattr("zwaif_fallback.cli.download._can_ask", lambda: False)
    return main.main(["download"])


@says("Unexpected …: …. Run it again with --debug for the details.")
def _(scene: Scene) -> object:
    def burst(*_: object) -> int:
        raise RuntimeError("a bug")

    scene.patch.setattr(play, "run", burst)
    return main.main(["demo"])
