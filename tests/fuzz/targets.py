"""The readers, each with good inputs, a builder of hostile ones, and the errors that it documents."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import struct
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.inputs import Chance, Shape
from tests.helpers.made_models import CONFIG, LLAMA, gguf
from zwaif_fallback.answering.last_words_filter import LastWordsFilter
from zwaif_fallback.choosing.memory_fit import fit
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import ollama_store
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.gguf_facts import read_gguf
from zwaif_fallback.models.safetensors_facts import read_folder
from zwaif_fallback.prompt import cards, fit_to_window
from zwaif_fallback.workers.protocol import FINAL_EVENTS
from zwaif_fallback.workers.worker_process import WorkerProcess
from zwaif_hooks import turn_log
from zwaif_hooks.guards.ollama import failure_of
from zwaif_hooks.guards.request import newest_picture, plain_messages, prompt_chars
from zwaif_hooks.host import card_file, env_file, persona, yaml_file
from zwaif_hooks.host.sampling import sampling_from
from zwaif_hooks.messages import ChatRequest, ModelInfo
from zwaif_hooks.network import sse
from zwaif_hooks.storage import bounded
from zwaif_hooks.stream import PrimaryError

Read = Callable[[], object]
Prepare = Callable[[bytes], Read]
"""Puts an input where it will be read; only what it returns is timed."""


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    seeds: Sequence[bytes]
    """Good inputs, and some that are bad in an ordinary way."""
    shape: Shape
    reader: Callable[[], AbstractContextManager[Prepare]]
    documented: tuple[type[Exception], ...] = ()


TARGETS: dict[str, Target] = {}


Reader = Callable[[], Iterator[Prepare]]


def target(name: str, seeds: Sequence[bytes], shape: Shape, *documented: type[Exception]) -> Callable[[Reader], Reader]:
    """The decorated function is one reader; it is run as a context manager around all its inputs."""

    def register(reader: Reader) -> Reader:
        TARGETS[name] = Target(name, seeds, shape, contextlib.contextmanager(reader), documented)
        return reader

    return register


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zwaif-fuzz-") as name:
        yield Path(name)


SSE = (
    b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{"content":" there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5}}\n\n'
    b"data: [DONE]\n\n",
    b'{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}',
    b'event: error\r\nid: 1\r\ndata: {"error":{"message":"no model is loaded"}}\r\n\r\n',
    b': ping\n\ndata: {"choices":[{"text":"a","message":{"content":[{"type":"text","text":"x"}]}}]}\n\n',
)


@target("sse", SSE, inputs.server_events, PrimaryError)
def _sse() -> Iterator[Prepare]:
    def read(parts: list[bytes]) -> None:
        for chunk in sse.read_reply(parts):
            assert isinstance(chunk.text, str) and isinstance(chunk.reason, str)

    yield lambda data: partial(read, inputs.cut(data, Chance(len(data))))


NDJSON = (
    b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}\n',
    b'{"error":"model \'x\' not found"}\n',
)
_NDJSON_NAMES = (
    "model",
    "message",
    "content",
    "role",
    "done",
    "done_reason",
    "error",
    "eval_count",
    "assistant",
    "stop",
)


@target("ndjson", NDJSON, lambda chance: inputs.json_lines(chance, _NDJSON_NAMES), PrimaryError)
def _ndjson() -> Iterator[Prepare]:
    """The library reads, and the guard says what its errors mean."""
    import httpx
    import ollama

    body = [b""]
    client: Any = ollama.Client(host="http://127.0.0.1:1")
    client._client = httpx.Client(
        base_url="http://127.0.0.1:1",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=body[0])),
    )

    def read(data: bytes) -> None:
        body[0] = data
        try:
            for part in client.chat("m", [{"role": "user", "content": "Hi"}], stream=True):
                assert isinstance(part.message.content, str | None)
        except Exception as error:
            raise failure_of(error, "127.0.0.1:1") from error

    yield lambda data: partial(read, data)


ENV = (
    b"API_TYPE = Oobabooga\nHOST_PORT = 127.0.0.1:5000\n# comment\nCHAR_NAME = 'Wai fu' # x\nEMPTY =\n"
    b'export X="a\\nb"\nAPI_FALLBACK_HOST = old # keep\n',
    b"\xef\xbb\xbfA=1\r\nB = 2\r\n",
    b"A='multi\nline'\nB=${A}\n",
    b"=x\n\n \nA\nB=\n'q k'=v\n",
)

_LONGEST_ENV = 1500
"""Bytes. Nobody but its user writes the file, and python-dotenv takes 10 to 30 µs for each line."""


@target("env", ENV, inputs.env, env_file.EnvFileError)
def _env() -> Iterator[Prepare]:
    """What is saved reads back, and everything else reads as before."""
    logging.getLogger("dotenv.main").setLevel(logging.CRITICAL)
    key = "API_FALLBACK_HOST"
    letters = (
        "a",
        "B",
        "=",
        "#",
        "'",
        '"',
        "\\",
        " ",
        "$",
        "{",
        "}",
        "\u2028",
        "\x85",
        "é",
        "\U0001f600",
        "n",
        ";",
        "\t",
    )
    with folder() as place:
        path = place / ".env"

        def prepare(data: bytes) -> Read:
            path.write_bytes(data[:_LONGEST_ENV])
            chance = Chance(data[:64])
            return partial(read, "".join(chance.choice(letters) for _ in range(chance.randrange(14))).strip())

        def read(saved: str) -> None:
            before = env_file.read(path)
            env_file.write(path, key, saved)
            after = env_file.read(path)
            assert after.get(key, "") == saved, f"{after.get(key)!r} was read for {saved!r}"
            if "${" not in path.read_text("utf-8", "replace"):
                assert {**after, key: ""} == {**before, key: ""}, "other keys read otherwise"

        yield prepare


CARDS = (
    b"Character Card: |-\n  You are {{char}}.\n  Be kind.\nDescription: hi\n",
    b"temperature: 1.17\ntop_k: 72\ndynamic_temperature: true\n# x\n'min_p': \"0.03\"\n",
    b'{"Character Card": 1}',
    b"a: &a [*a]\nCharacter Card: *a\n",
)


@target("cards", CARDS, inputs.yaml)
def _cards() -> Iterator[Prepare]:
    """The card, the preset and the relationships of a tree; nothing is ever raised."""
    with folder() as place:
        card, preset = place / "Configurables" / "CharacterCard.yaml", place / "OOBA_Presets" / "x.yaml"
        for file in (card, preset):
            file.parent.mkdir()
        modules = {"utils.user_relationships": types.ModuleType("x")}

        def prepare(data: bytes) -> Read:
            for file in (card, preset, card.with_name("user_relationships.json")):
                file.write_bytes(data)
            return read

        def read() -> None:
            with contextlib.suppress(yaml_file.Unreadable):
                assert isinstance(yaml_file.read(card), dict)
            with contextlib.redirect_stdout(None):
                assert isinstance(persona.read_persona(modules, place).character_card, str)
                sampling_from("oobabooga", {"preset": "x"}, place)

        yield prepare


_CARD = {"name": "Mia", "description": "{{char}} is a fox.", "mes_example": "<START>\n{{user}}: Hi\n{{char}}: Ho!"}
CARD_FILES = (
    json.dumps({"spec": "chara_card_v2", "data": _CARD}).encode(),
    b'[Character("Mia"){Age("24") Hair("red" + "long") Likes("tea" + "rain")}]\nName: Mia\nAge: 3\nHates: rain\n',
    b"\x89PNG\r\n\x1a\n\0\0\0\xa0tEXtchara\0" + base64.b64encode(json.dumps(_CARD).encode()).ljust(154) + b"0000",
    b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 20) + b"zTXtccv3\0\0" + b"x" * 20,
)
_ORDINARY_CARD = 8_000
"""Characters. The time to shorten one grows with its length."""
_CARD_NAMES = ["spec", "data", "description", "personality", "scenario", "first_mes", "mes_example", "context"]


@target("card files", CARD_FILES, lambda chance: inputs.odd_json(chance, _CARD_NAMES), ValueError)
def _card_files() -> Iterator[Prepare]:
    """Cards of other programs, and what a small model is told of any."""
    with folder() as place:
        files = [place / "card.json", place / "card.png", place / "card.yaml"]

        def prepare(data: bytes) -> Read:
            for file in files:
                file.write_bytes(data)
            return partial(read, data.decode("utf-8", "replace"))

        def read(text: str) -> None:
            for file in files:
                with contextlib.suppress(ValueError):
                    cards.rewrite(card_file.read(file), "Mia", "Tom")
            cards.rewrite(text, "Mia", "Tom")
            cards.shorten(text[:_ORDINARY_CARD], lambda kept: len(kept) < _ORDINARY_CARD // 4)

        yield prepare


HISTORIES = (
    json.dumps([["Hi", "Hello!", "a", "b"], ["[Platform: Discord] Who?", "Me.", 1]]).encode(),
    json.dumps([{"role": "system", "content": "You are Mia."}, {"role": "user", "content": "Hi"}]).encode(),
    json.dumps(
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"image_url": {"url": "data:x"}}]}]
    ).encode(),
    json.dumps(["Sorry, I have to think.", "Give me a moment …"]).encode(),
    b'{"at":1.0,"primary":"h:1","backend":"ollama","answered_by":"primary","chars":3}\n',
)
_HISTORY_NAMES = [
    "role",
    "content",
    "user",
    "assistant",
    "system",
    "images",
    "image_url",
    "text",
    "at",
    "primary",
    "chars",
]


@target("histories", HISTORIES, lambda chance: inputs.json_lines(chance, _HISTORY_NAMES), ValueError)
def _histories() -> Iterator[Prepare]:
    """Z-Waif's history and requests, and what we keep: turn records and last words."""
    with folder() as place:
        kept = place / "kept.json"
        controller: Any = types.ModuleType("API.api_controller")
        controller.send_via_oogabooga = None
        model = ModelInfo("x", context_window=300)

        def prepare(data: bytes) -> Read:
            kept.write_bytes(data)
            return partial(read, data)

        def read(data: bytes) -> None:
            turn_log.summary(turn_log.read(kept), now=2.0)
            unsaid = LastWordsFilter(lambda: kept)
            history = bounded.loads(data)  # ValueError: then Z-Waif itself has none
            controller.ooga_history = history
            assert all(isinstance(reply, str) for reply in persona.recent_replies({"API.api_controller": controller}))
            if not isinstance(history, list):
                return
            messages, _ = plain_messages(history)
            newest_picture(history)
            prompt_chars(history)
            request = unsaid.without(ChatRequest("oobabooga", messages, 50))
            fit_to_window.fit(request, model, lambda texts: [len(text) // 4 for text in texts])

        yield prepare


def _shown(facts: ModelFacts) -> None:
    text = (
        fit(facts, Memory(8 << 30, 4 << 30)).text
        + f"{facts.parameters / 1e9:.2g} {facts.size / 1e9:.1f} {facts.window:,}"
    )
    assert (text + facts.problem + facts.title + facts.architecture + facts.quantization).isprintable()


@target("gguf", (gguf(), gguf({**LLAMA, "tokenizer.ggml.merges": ["a b"] * 1100})), inputs.gguf, ValueError, OSError)
def _gguf() -> Iterator[Prepare]:
    with folder() as place:
        path = place / "x.gguf"

        def prepare(data: bytes) -> Read:
            path.write_bytes(data)
            return lambda: _shown(read_gguf(path))

        yield prepare


def _st(head: bytes) -> bytes:
    return struct.pack("<Q", len(head)) + head + bytes(64)


SAFETENSORS = (
    _st(b'{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}}'),
    _st(
        b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[1,1],"data_offsets":[4,6]}}'
    ),
)
_CONFIGS = (
    json.dumps(CONFIG).encode(),
    json.dumps(
        {**CONFIG, "text_config": {"a": 1}, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    ).encode(),
)
_CONFIG_NAMES = [*CONFIG, *["text_config", "quantization_config", "quant_method", "head_dim", "auto_map", "weight_map"]]


@target("safetensors", SAFETENSORS, inputs.safetensors, ValueError, OSError)
def _safetensors() -> Iterator[Prepare]:
    """The weights as they are given, and files beside them made from the same chance."""
    with folder() as place:

        def prepare(data: bytes) -> Read:
            chance = Chance(data[:64])
            odd = chance.randrange(4)
            (place / "config.json").write_bytes(
                inputs.odd_json(chance, _CONFIG_NAMES) if odd == 0 else inputs.changed(chance.choice(_CONFIGS), chance)
            )
            (place / "tokenizer_config.json").write_bytes(
                inputs.changed(b'{"model_max_length":1e30,"chat_template":"x"}', chance)
            )
            weights, index = place / "model.safetensors", place / "model.safetensors.index.json"
            for file in (weights, index):
                file.unlink(missing_ok=True)
            (index if odd == 1 else weights).write_bytes(data)
            return lambda: _shown(read_folder(place))

        yield prepare


MANIFESTS = (
    json.dumps(
        {
            "schemaVersion": 2,
            "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'a' * 64}", "size": 1}],
        }
    ).encode(),
)
_MANIFEST_NAMES = ("layers", "mediaType", "digest", "application/vnd.ollama.image.model", f"sha256:{'a' * 64}")


@target("manifests", MANIFESTS, lambda chance: inputs.odd_json(chance, _MANIFEST_NAMES), ValueError, OSError)
def _manifests() -> Iterator[Prepare]:
    with folder() as place:
        manifest = place / "manifests" / "registry.ollama.ai" / "library" / "x" / "latest"
        manifest.parent.mkdir(parents=True)

        def prepare(data: bytes) -> Read:
            manifest.write_bytes(data)
            return read

        def read() -> None:
            entry = ollama_store.read_manifest(place, manifest)
            assert entry.model.parent == place / "blobs"

        yield prepare


WORKER = (
    b'{"id":0,"event":"piece","text":"x"}',
    b'{"id":0,"event":"error","kind":"EngineError","message":"m"}',
    b'{"id":7,"event":"done","stats":{"prompt_tokens":1}}',
    b'{"id":0,"event":"loaded","loaded":{"info":{"name":"x"},"engine":"gguf","notes":[]}}\n{}\nhello\n[1]\n',
)
_WORKER_NAMES = [
    "id",
    "event",
    "piece",
    "done",
    "error",
    "kind",
    "message",
    "loaded",
    "prepared",
    "text",
    "ModelError",
    "stats",
]
_RELAY = """
import base64, json, sys
for line in sys.stdin.buffer:
    asked = json.loads(line)
    said = base64.b64decode(asked["raw"]).replace(b'"id":0', b'"id":%d' % asked["id"])
    sys.stdout.buffer.write(said + b'\\n{"id":%d,"event":"prepared"}\\n' % asked["id"])
    sys.stdout.buffer.flush()
"""


@target("worker", WORKER, lambda chance: inputs.json_lines(chance, _WORKER_NAMES), FallbackError)
def _worker() -> Iterator[Prepare]:
    """A worker that says anything at all: what it says behind that still arrives."""
    logging.getLogger("zwaif_fallback.workers.worker_process").setLevel(logging.ERROR)
    worker = WorkerProcess([sys.executable, "-u", "-c", _RELAY])

    def read(data: bytes) -> None:
        exchange = worker.ask("say", raw=base64.b64encode(data).decode())
        while exchange.next_event(5.0)["event"] not in FINAL_EVENTS:
            pass

    try:
        yield lambda data: partial(read, data)
    finally:
        worker.kill()
