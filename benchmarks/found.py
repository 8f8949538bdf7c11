"""How long the list of models takes: many GGUF files with vocabularies as real ones have, found and read.

    python -m benchmarks.found [--files 200]

The files are made on the spot (headers only, their weights are holes) and read once to have them in the system's cache,
as they are when the list is shown a second time after a start.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from zwaif_fallback.models import facts_cache, gguf_header, search
from zwaif_fallback.models.program_folders import Machine

VOCABULARIES = ((32_000, 0), (151_936, 151_387), (128_256, 280_147), (262_144, 0))
"""Words and merges: Llama 2 and Mistral, Qwen, Llama 3, Gemma 3."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zwaif-found-") as folder:
        make_files(Path(folder), parsed.files)
        machine = Machine("Linux", Path(folder) / "home", {})
        first, again = [], []
        for _ in range(parsed.rounds):
            facts_cache.forget()
            first.append(_seconds(machine, folder, parsed.files))
            again.append(_seconds(machine, folder, parsed.files))
        size = sum(gguf_header.read_header(file).data_start for file in Path(folder).glob("*.gguf"))
        print(f"{parsed.files} files, {size / 1e6:.0f} MB of headers; median of {parsed.rounds}")
        for what, taken in (("read", first), ("again, nothing changed", again)):
            clock, work = (statistics.median(column) for column in zip(*taken, strict=True))
            print(f"{what}: {clock:.2f} s by the clock, {work:.2f} s of processor time")


def _seconds(machine: Machine, folder: str, files: int) -> tuple[float, float]:
    """By the clock, and of processor time: on a busy machine only the second says something."""
    begun, worked = time.perf_counter(), time.process_time()
    findings = search.find_models(None, folder, machine)
    taken = time.perf_counter() - begun, time.process_time() - worked
    assert len([model for model in findings.usable() if Path(folder) in model.path.parents]) == files
    return taken


def make_files(folder: Path, count: int) -> None:
    """One of each vocabulary, and copies of them."""
    made = []
    for number, (words, merges) in enumerate(VOCABULARIES):
        file = folder / f"model-{number}.gguf"
        _write(file, words, merges)
        made.append(file.read_bytes())
    for number in range(len(VOCABULARIES), count):
        (folder / f"model-{number}.gguf").write_bytes(made[number % len(made)])


def _write(file: Path, words: int, merges: int) -> None:
    import gguf
    import numpy

    writer: Any = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(2048)
    writer.add_block_count(32)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_file_type(15)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"tok{number * 7919 % 999_983}" for number in range(words)])
    writer.add_token_types([1] * words)
    if merges:
        writer.add_token_merges([f"a{number} b{number % 1000}" for number in range(merges)])
    else:
        writer.add_token_scores([0.0] * words)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}" * 200)
    for layer in range(32):
        for part in range(9):
            writer.add_tensor(f"blk.{layer}.part{part}.weight", numpy.zeros(32, dtype=numpy.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


if __name__ == "__main__":
    main()
