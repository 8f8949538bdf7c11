"""Trains the tiny chat model that the demo and the tests speak with, and measures it.

    python tools/tiny_model/train.py                 train, save, measure
    python tools/tiny_model/train.py --check         measure what is there; exit code 1 below the limits

Needs torch, transformers and tokenizers. The same seed and thread count on the same machine give the same weights.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import corpus
import torch
import torch.nn.functional as functional
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

MODEL = Path(__file__).resolve().parents[2] / "zwaif_fallback" / "demo" / "model"
CONTEXT = 2048
"""Tokens. A few training conversations are nearly as long, so that a long persona does not derail the answers."""
TOKENS_A_STEP = 3840
CHOOSING = 0.42
"""Share of the steps in which single questions teach what to answer; the rest teaches to say it well, anywhere."""
FIRST_TOKENS = ((8.0, 5.0, 3.0), (1.5, 1.0, 0.5))
"""How much more than one the first three tokens of a reply weigh, in the one part of the training and in the other."""
SPECIAL = ["<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
# Zephyr's format, the one TinyLlama-Chat was trained with: a role line, the text, an end mark.
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
SHARPNESS = 3.0
"""The logits' factor: Z-Waif's presets sample at temperatures above 1, which would scatter so small a model."""
HOT = {"do_sample": True, "temperature": 1.17, "min_p": 0.03, "top_k": 72, "repetition_penalty": 1.1}
"""Like Z-Waif's standard preset."""
PLACES = ("before a word", "after a space", "in a word")
LIMITS = {
    "exact": 0.97,
    "after turns": 0.93,
    "with persona": 0.93,
    "roughened": 0.85,
    "cut before a word": 0.98,
    "cut after a space": 0.55,
    "cut in a word": 0.25,
    "unknown": 0.9,
    "sampled": 0.9,
}
"""Share of the answers that must be word for word one of ours, for each measure."""

Example = tuple[list[int], list[int]]
"""Token ids, and the labels: -100 where the model is not asked to have said it."""


def build_tokenizer(vocabulary: int = 1536) -> Any:
    """Byte-level BPE: every input has tokens, emoji and CJK included."""
    rng = random.Random(0)
    texts = [text for topic in corpus.topics() for text in (*topic.ways, *topic.answers) for _ in range(3)]
    texts += [corpus.unknown(rng)[0] for _ in range(600)] + [corpus.foreign_half(rng)[0] for _ in range(300)]
    texts += corpus.UNKNOWN_QUESTION + corpus.UNKNOWN_STATEMENT + corpus.LOST_THREAD + corpus.PERSONAS * 3
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        additional_special_tokens=SPECIAL[3:],
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(tokenizer: Any) -> Any:
    """A Llama of about a million weights. Every width is a multiple of 32, so that it can be block-quantized."""
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 32) * 32,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


class Conversations:
    """The training conversations, in batches, as many as there are steps."""

    def __init__(self, tokenizer: Any, seed: int, steps: int) -> None:
        self.steps = steps
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self.topics = corpus.topics()
        self.cut = 0.2
        """Share of the answers that are given in part."""
        self.waiting: list[tuple[int, str]] = []

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _next_way(self) -> tuple[int, str]:
        """Each way comes equally often: shuffled rounds rather than dice."""
        if not self.waiting:
            self.waiting = [(i, way) for i, topic in enumerate(self.topics) for way in topic.ways]
            self.rng.shuffle(self.waiting)
        return self.waiting.pop()

    def turn(self, used: set[str]) -> tuple[str, str]:
        """A user message and an answer that was not given before in this conversation."""
        rng = self.rng
        if rng.random() < 0.12:
            asked, answers = corpus.unknown(rng)
            if rng.random() < 0.3:
                asked = corpus.roughen(asked, rng)
        else:
            number, asked = self._next_way()
            answers = self.topics[number].answers
            if len(asked) > 1 and rng.random() < 0.5:
                asked = corpus.roughen(asked, rng)
            if used and rng.random() < 0.1:
                self.waiting.append((number, rng.choice(self.topics[number].ways)))
        fresh = [answer for answer in answers if answer not in used]
        return asked, rng.choice(fresh or list(answers))

    def _reply(self, answer: str) -> Example:
        """An answer, often cut somewhere, so that going on from half a sentence is learnt with the same words."""
        rng = self.rng
        if rng.random() < 0.1:
            given, rest = corpus.foreign_half(rng)
        elif rng.random() < self.cut:
            at = self._place_to_cut(answer)
            given, rest = answer[:at], answer[at:]
        else:
            given, rest = "", answer
        if given and rng.random() < 0.2:
            given = corpus.label(rng) + given
        before, after = self.ids(given), [*self.ids(rest), self.tokenizer.eos_token_id]
        return before + after, [-100] * len(before) + after

    def _place_to_cut(self, answer: str) -> int:
        """Before a word is easy, as all text goes on there; after the space or inside a word takes more examples."""
        spaces = [i for i, letter in enumerate(answer) if letter == " "]
        roll = self.rng.random()
        if spaces and roll < 0.55:
            return self.rng.choice(spaces) + (roll < 0.45)
        return self.rng.randrange(1, len(answer))

    def one(self, width: int) -> Example:
        """A conversation of exactly ``width`` tokens, cut off at the end."""
        ids: list[int] = []
        labels: list[int] = []

        def unasked(text: str) -> None:
            piece = self.ids(text)
            ids.extend(piece)
            labels.extend([-100] * len(piece))

        system = corpus.persona(self.rng) if width > 40 else ""
        if system:
            unasked(f"<|system|>\n{system}</s>\n")
        used: set[str] = set()
        while len(ids) < width:
            asked, answer = self.turn(used)
            used.add(answer)
            unasked(f"<|user|>\n{asked}</s>\n<|assistant|>\n")
            piece, wanted = self._reply(answer)
            ids.extend(piece)
            labels.extend(wanted)
            unasked("\n")
        return ids[:width], labels[:width]

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Token ids and labels, ``TOKENS_A_STEP`` of them.

        Single questions come first: which words matter is learnt there, and only then where to look for them.
        """
        for step in range(self.steps):
            if step < self.steps * CHOOSING:
                width = 40
            elif step % 12 < 11:
                width = self.rng.choice([96, 192, 256])
            else:
                width = self.rng.choice([768, 1920])
            self.cut = 0.2 if width == 40 else 0.5
            rows = [self.one(width) for _ in range(TOKENS_A_STEP // width)]
            yield torch.tensor([ids for ids, _ in rows]), torch.tensor([labels for _, labels in rows])


def weighted_loss(logits: torch.Tensor, labels: torch.Tensor, extras: Sequence[float]) -> torch.Tensor:
    """Cross entropy that counts the first tokens of a reply most.

    They decide what is answered; the rest of a sentence follows from its beginning, and would drown them out.
    """
    wanted = labels[:, 1:]
    asked = (wanted != -100).float()
    begins = asked * (labels[:, :-1] == -100)
    weights = asked.clone()
    for place, extra in enumerate(extras):
        weights[:, place:] += extra * begins[:, : begins.shape[1] - place] * asked[:, place:]
    losses = functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), reduction="none")
    return (losses.view_as(weights) * weights).sum() / weights.sum()


def train(target: Path, steps: int) -> None:
    """Train from nothing and save weights as fp16 safetensors, with the tokenizer."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 40) * max(0.01, 1 - s / steps))
    model.train()
    for step, (tokens, labels) in enumerate(Conversations(tokenizer, 1, steps).batches()):
        loss = weighted_loss(model(input_ids=tokens).logits, labels, FIRST_TOKENS[step >= steps * CHOOSING])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.3f}  {time.monotonic() - started:5.1f} s", flush=True)
    model.model.norm.weight.data *= SHARPNESS
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.half().save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)


def _cut(answer: str, place: str, rng: random.Random) -> int:
    """Where to cut in ``answer``, after its first third where possible."""
    spaces = [i for i, letter in enumerate(answer) if letter == " " and i > len(answer) / 3] or [answer.index(" ")]
    if place == "before a word":
        return rng.choice(spaces)
    if place == "after a space":
        return rng.choice(spaces) + 1
    return rng.choice([i for i in range(len(answer) // 3 + 1, len(answer)) if answer[i - 1 : i + 1].isalpha()])


class Measure:
    """Asks the saved model, greedily, and counts the answers that are word for word one of ours."""

    def __init__(self, source: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True).float().eval()
        self.topics = corpus.topics()

    def generate(self, prompts: list[str], **sampling: Any) -> list[str]:
        replies: list[str] = []
        for start in range(0, len(prompts), 128):
            batch = self.tokenizer(
                prompts[start : start + 128], return_tensors="pt", padding=True, add_special_tokens=False
            )
            with torch.no_grad():
                out = self.model.generate(**batch, max_new_tokens=64, **(sampling or {"do_sample": False}))
            new = out[:, batch["input_ids"].shape[1] :]
            replies += self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return replies

    def prompt(self, asked: str, rng: random.Random, turns: int = 0, persona: str = "") -> str:
        messages = [{"role": "system", "content": persona}] if persona else []
        for _ in range(turns):
            topic = rng.choice(self.topics)
            messages += [
                {"role": "user", "content": rng.choice(topic.ways)},
                {"role": "assistant", "content": rng.choice(topic.answers)},
            ]
        messages.append({"role": "user", "content": asked})
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def talk(self, name: str, prompt: Any, **sampling: Any) -> float:
        """Share of the ways to say something that get one of their topic's answers."""
        rng = random.Random(7)
        asked = [(way, topic) for topic in self.topics for way in topic.ways]
        prompts = [prompt(way, rng) for way, _ in asked]
        replies = self.generate(prompts, **sampling)
        wrong = [(way, got) for (way, topic), got in zip(asked, replies, strict=True) if got not in topic.answers]
        for way, got in wrong[:4]:
            print(f"    {name}: {way!r} -> {got!r}")
        return 1 - len(wrong) / len(asked)

    def continued(self, place: str) -> float:
        """Share of half sentences that are finished word for word, by where they were cut."""
        rng = random.Random(11)
        cases = []
        for topic in self.topics:
            for answer in topic.answers:
                at = _cut(answer, place, rng)
                cases.append((self.prompt(rng.choice(topic.ways), rng, rng.randint(0, 2)), answer, at))
        replies = self.generate([prompt + answer[:at] for prompt, answer, at in cases])
        wrong = [(a[:at], got) for (_, a, at), got in zip(cases, replies, strict=True) if got != a[at:]]
        for given, got in wrong[:4]:
            print(f"    cut {place}: {given!r} -> {got!r}")
        return 1 - len(wrong) / len(cases)

    def unknown(self) -> float:
        """Share of unprepared messages that get a whole sentence of ours, prepared or generic."""
        rng = random.Random(13)
        ours = {answer for topic in self.topics for answer in topic.answers}
        ours.update(corpus.UNKNOWN_QUESTION + corpus.UNKNOWN_STATEMENT + corpus.UNKNOWN_REQUEST)
        asked = [corpus.unknown(rng)[0] for _ in range(200)]
        replies = self.generate([self.prompt(text, rng, rng.randint(0, 2), corpus.persona(rng)) for text in asked])
        wrong = [(text, got) for text, got in zip(asked, replies, strict=True) if got not in ours]
        for text, got in wrong[:4]:
            print(f"    unknown: {text!r} -> {got!r}")
        return 1 - len(wrong) / len(asked)

    def all(self) -> dict[str, float]:
        return {
            "exact": self.talk("exact", lambda way, rng: self.prompt(way, rng)),
            "after turns": self.talk("after turns", lambda way, rng: self.prompt(way, rng, turns=rng.randint(1, 8))),
            "with persona": self.talk("with persona", lambda way, rng: self.prompt(way, rng, 1, corpus.persona(rng))),
            "roughened": self.talk(
                "roughened", lambda way, rng: self.prompt(corpus.roughen(way, rng) if len(way) > 1 else way, rng)
            ),
            **{f"cut {place}": self.continued(place) for place in PLACES},
            "unknown": self.unknown(),
            "sampled": self.talk("sampled", lambda way, rng: self.prompt(way, rng, 2, corpus.persona(rng)), **HOT),
        }


def main() -> int:
    """Returns 0 when every measure reaches its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="do not train, only measure")
    parser.add_argument("--out", type=Path, default=MODEL, help="model folder (default: the embedded one)")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if not options.check:
        train(options.out, options.steps)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"size: {size / 1e6:.2f} MB")
    results = Measure(options.out).all()
    for name, share in results.items():
        print(f"{name}: {share:.1%} (at least {LIMITS[name]:.0%})")
    return 0 if all(share >= LIMITS[name] for name, share in results.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
