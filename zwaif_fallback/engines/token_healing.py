"""Token healing: continue from a text that was cut inside a word.

Half a word is tokenized differently from the whole one, so a model that reads ``deep bl`` gets tokens it never saw
there in training, and garbles what follows. Healing removes the last word from the prompt and lets the model
regenerate it, allowing only tokens that spell the same characters; what it writes beyond them is new text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from typing import Any

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_LAST = re.compile(rf" ?(?:[{_CJK}]{{1,2}}|[^\W\d_{_CJK}]+|\d+|_+|[^\w\s]+)\Z| \Z")
"""Where tokenizers split before they merge: letters, digits and symbols apart, each with the space before it."""
_LONGEST = 24
"""Characters. Longer runs are not words but URLs or code, and regenerating them would take time."""
_ANCHOR = "a"
_BROKEN = "\ufffd"
_HIGHEST = "\U0010ffff"


def torn_end(prompt: str, reply: int) -> str:
    """Return the end of the prompt that may be half a token, within the reply's part; empty if there is none.

    Args:
        reply: number of characters at the end of the prompt that belong to the reply. One space before them, which the
            prompt format added, belongs to the first word, as in most vocabularies.
    """
    if reply <= 0:
        return ""
    first = max(0, len(prompt) - reply)
    if prompt[first - 1 : first] == " ":
        first -= 1
    found = _LAST.search(prompt, max(0, len(prompt) - _LONGEST - 2))
    # A word that started before the reply, or too far back, stays as it is.
    return found.group() if found and found.start() >= first and len(found.group()) <= _LONGEST else ""


class Vocabulary:
    """The tokens of a model by their text inside a sentence."""

    def __init__(self, tokens: Iterable[tuple[str, int]]) -> None:
        pairs = sorted((text, token) for text, token in tokens if text and _BROKEN not in text)
        self._texts = [text for text, _ in pairs]
        self._ids = [token for _, token in pairs]

    def fitting(self, wanted: str) -> list[int]:
        """Return the tokens that start with ``wanted``, or that ``wanted`` starts with."""
        longer = self._ids[bisect_left(self._texts, wanted) : bisect_left(self._texts, wanted + _HIGHEST)]
        shorter = [token for size in range(1, len(wanted)) for token in self._exactly(wanted[:size])]
        return longer + shorter

    def _exactly(self, text: str) -> list[int]:
        return self._ids[bisect_left(self._texts, text) : bisect_left(self._texts, text + "\0")]


def vocabulary_of(tokenizer: Any, decode: Callable[[list[list[int]]], list[str]]) -> Vocabulary:
    """Return all ordinary tokens of a transformers tokenizer; takes about a microsecond each with a fast one.

    Args:
        decode: turns many lists of token ids into texts at once.
    """
    anchor = list(tokenizer(_ANCHOR, add_special_tokens=False).input_ids)
    special: Collection[int] = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    ids = [token for token in range(len(tokenizer)) if token not in special]
    # A token's leading space only shows after another token.
    before, *texts = decode([anchor, *([*anchor, token] for token in ids)])
    return Vocabulary((text[len(before) :], token) for text, token in zip(texts, ids, strict=True))


def only(scores: Any, allowed: list[int]) -> Any:
    """Return ``scores`` with every token ruled out that is not in ``allowed``."""
    import torch

    ids = torch.tensor(allowed, device=scores.device)
    return torch.full_like(scores, float("-inf")).index_copy(1, ids, scores[:, ids])
