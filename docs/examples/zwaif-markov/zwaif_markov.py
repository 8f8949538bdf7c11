"""An engine without a model file: a Markov chain of the words in the prompt."""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterator

import zwaif_hooks as zw

LONGEST = 30
"""Words of a sentence."""
MARK = re.compile(r"<\|?\w+\|?>|</s>")
"""What a chat format writes between the turns."""


@zw.hookimpl
def register_engines() -> zw.EngineSpec:
    models = [zw.EngineModel("chat", memory_bytes=1_000_000, context_window=2048)]
    return zw.EngineSpec("markov", models, factory="zwaif_markov:Markov")


class Markov:
    """Made in the worker process, where the local model lives."""

    def load(self, options: zw.EngineOptions) -> zw.ModelInfo:
        return zw.ModelInfo(options.model, family="tinyllama", context_window=2048)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: zw.EnginePrompt) -> Iterator[str]:
        """One sentence, word by word, so that it can be stopped between two words."""
        words = MARK.sub(" ", prompt.text).split()
        follows: defaultdict[str, list[str]] = defaultdict(list)
        for word, following in itertools.pairwise(words):
            follows[word].append(following)
        dice = random.Random(prompt.sampling.seed)
        word = dice.choice([one for one in words if one[0].isupper()] or words or ["Well."])
        for _ in range(min(prompt.max_tokens, LONGEST)):
            if word[-1] in ".!?" or not follows[word]:
                break
            yield f"{word} "
            word = dice.choice(follows[word])
        yield word if word[-1] in ".!?" else f"{word}."
