"""Model files made on the spot: as small as their headers, and as large as they claim to be where that matters."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.links import link_or_copy

DIGEST = "a" * 64
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
LLAMA: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 15,
    "llama.block_count": 3,
    "llama.context_length": 4096,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.chat_template": "{{ messages }}",
}
TENSORS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "token_embd.weight": ((256, 4), 12),
    "blk.0.attn_q.weight": ((256, 8), 12),
    "output_norm.weight": ((256,), 0),
}
CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "vocab_size": 100,
    "max_position_embeddings": 2048,
}


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def value(of: Any) -> bytes:
    """Type and value."""
    if isinstance(of, str):
        return struct.pack("<I", STRING) + text(of)
    if isinstance(of, bool):
        return struct.pack("<I?", 7, of)
    if isinstance(of, float):
        return struct.pack("<If", FLOAT32, of)
    if isinstance(of, int):
        return struct.pack("<II", UINT32, of)
    items = [value(item) for item in of]
    kind = items[0][:4] if items else struct.pack("<I", UINT32)
    return struct.pack("<I", ARRAY) + kind + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def gguf(
    metadata: Mapping[str, Any] = LLAMA,
    tensors: Mapping[str, tuple[tuple[int, ...], int]] = TENSORS,
    version: int = 3,
) -> bytes:
    """A header; the tensors' data is left to :func:`write_gguf`."""
    parts = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    parts += [text(key) + value(of) for key, of in metadata.items()]
    offset = 0
    for name, (shape, kind) in tensors.items():
        parts.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        offset += -(-_bytes(shape, kind) // 32) * 32
    return b"".join(parts)


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any] = LLAMA,
    tensors: Mapping[str, tuple[tuple[int, ...], int]] = TENSORS,
    cut: int = 0,
) -> Path:
    """A whole file, its data one hole; ``cut`` bytes short where a broken download is wanted."""
    header = gguf(metadata, tensors)
    sizes = [-(-_bytes(shape, kind) // 32) * 32 for shape, kind in tensors.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + sum(sizes) - cut)
    return path


def write_safetensors(
    folder: Path,
    config: Mapping[str, Any] = CONFIG,
    tensors: Mapping[str, Sequence[int]] | None = None,
    template: str = "{{ messages }}",
) -> Path:
    """A folder as transformers saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
    (folder / "tokenizer.json").write_text("{}")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in (tensors or {"model.embed_tokens.weight": [100, 32], "q_proj.weight": [32, 32]}).items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + offset)
    return folder


def put_in_ollama(store: Path, name: str, model: bytes | None = None, digest: str = DIGEST) -> Path:
    blob = store / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    if model is None:
        write_gguf(blob)
    else:
        blob.write_bytes(model)
    (store / "blobs" / f"sha256-{'b' * 64}").write_text("{{ .Prompt }}")
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'b' * 64}"},
    ]
    manifest = store / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def put_in_hub(cache: Path, repository: str, file: str = "") -> Path:
    """As the hub's library lays it out: links into ``blobs``."""
    base = cache / f"models--{repository.replace('/', '--')}"
    snapshot = base / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("c0ffee")
    if file:
        write_gguf(base / "blobs" / "1234")
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(snapshot / file, Path(os.path.relpath(base / "blobs" / "1234", (snapshot / file).parent)))
        return snapshot / file
    made = write_safetensors(base / "blobs" / "made")
    for number, name in enumerate(sorted(entry.name for entry in made.iterdir())):
        (made / name).rename(base / "blobs" / str(number))
        link_or_copy(snapshot / name, Path("../../blobs") / str(number))
    made.rmdir()
    return snapshot


def _bytes(shape: Sequence[int], kind: int) -> int:
    from zwaif_fallback.models.gguf_types import stored_bytes

    elements = 1
    for side in shape:
        elements *= side
    return stored_bytes(elements, kind)
