"""Rewrites character cards in plain sentences, for small models.

Large models read any notation. Small ones lose facts in brackets or between plus signs, and repeat a line that begins
with ``<START>``. So names are filled in, lists in W++ and of ``Key: value`` become sentences, and example dialogues get
the speakers' names. Dialogues stay in the card, where a model remembers more of them than as earlier turns
(SmolLM2-135M, a card of dialogues: 14 of 36 facts as turns, 29 of 48 as part of the card).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from zwaif_fallback.text.sentences import Sentences
from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.host import card_file

_MOST_JSON = 200_000
"""Characters. Reading of files has a limit of its own."""
_LONGEST_FACT = 300
"""Characters of a line."""
_LEAST_LIST = 3
"""Minimum lines of a list of facts; fewer may be prose with a colon in it."""
_PLACEHOLDERS = (
    (re.compile(r"\{\{\s*(?:char(?:acter)?|bot)\s*\}\}|<(?:char|bot)>", re.IGNORECASE), 0),
    (re.compile(r"\{\{\s*user\s*\}\}|<user>", re.IGNORECASE), 1),
)
_MACRO = re.compile(
    r"\{\{\s*(?://|comment\b|original\b|trim\b|noop\b)[^{}]{0,2000}\}\}|<!--(?:(?!<!--).){0,2000}?-->",
    re.IGNORECASE | re.DOTALL,
)
_START = re.compile(r"[ \t]*<\s*start\s*>[ \t]*", re.IGNORECASE)
_EXAMPLES = re.compile(
    r"[\s#*\[(]*(?:example|sample)s?(?: of)? ?(?:dialogues?|messages?|chats?|conversations?)[\s*\])]*:?[\s*]*",
    re.IGNORECASE,
)
"""A heading of example dialogues."""
_FIELD = re.compile(
    r"(?P<key>[^\W\d_][\w '/&-]{0,40}?)\s*\(\s*(?P<values>\"[^\"\n]*\"(?:\s*[+,]\s*\"[^\"\n]*\")*)\s*\)"
)
"""A W++ field: ``Likes("tea" + "rain")``."""
_BREAKS = re.compile(r"\n{3,}")
_SIGNS = re.compile(r"[\s\[\]{}+]*")
_LINE = re.compile(
    r"[\s*+•-]*(?P<key>[^\W\d_][^\W\d_'/&-]*(?:[ _][^\W\d_]+){0,2})[\s*]*[:=][\s*]*(?P<value>[^\s*].*?)[\s*]*"
)
"""A line of a list of facts: ``Likes: tea and rain``."""
_SAYINGS = {
    "is": "{name} is {value}.",
    "has": "{name} has {value} {key}.",
    "likes": "{name} likes {value}.",
    "loves": "{name} loves {value}.",
    "dislikes": "{name} does not like {value}.",
    "hates": "{name} hates {value}.",
    "fears": "{name} is afraid of {value}.",
    "age": "{name} is {value} years old.",
    "whose": "{name}'s {key} is {value}.",
}
_KEYS = {
    "is": "personality mind traits temperament nature",
    "has": "hair eyes",
    "likes": "likes like",
    "loves": "loves love",
    "dislikes": "dislikes dislike",
    "hates": "hates hate",
    "fears": "fears",
    "age": "age",
    "whose": (
        "species race gender sex nationality occupation job profession height weight birthday home hometown residence "
        "colour color pet cat dog sister brother mother father friend husband wife partner hobby talent dream wish "
        "goal fear secret weapon instrument skill power role song food drink season book"
    ),
}
_SAYING_OF = {key: _SAYINGS[kind] for kind, keys in _KEYS.items() for key in keys.split()}
_QUALIFIED = re.compile(r"(?:favou?rite|best|greatest|biggest|eye|hair|skin|full|zodiac) ", re.IGNORECASE)


def fill_in_names(text: str, name: str, user: str) -> str:
    """Fill in the placeholders of all chat programs, except those whose name is unknown."""
    for pattern, whose in _PLACEHOLDERS:
        if filled := (name, user)[whose]:
            text = pattern.sub(filled.replace("\\", r"\\"), text)
    return text


@lru_cache(maxsize=16)
def rewrite(card: str, name: str, user: str) -> str:
    """Return ``card`` in plain sentences; always the same for the same card."""
    text = fill_in_names(_MACRO.sub("", _out_of_json(card)), name, user)
    lines = _with_speakers(text.split("\n"), name, user)
    changed = "\n".join(_in_sentences(lines, name, user))
    return text if changed == text else _BREAKS.sub("\n\n", changed).strip()


def _out_of_json(card: str) -> str:
    """Read a card in JSON that was pasted as text; keep what follows it."""
    begun = card.lstrip()
    if not begun.startswith("{") or len(card) > _MOST_JSON:
        return card
    try:
        content, end = json.JSONDecoder().raw_decode(begun)
        return card_file.text_of(content) + begun[end:]
    except (ValueError, RecursionError):
        return card


# --- example dialogues ----------------------------------------------------------------------------------------------


def _with_speakers(lines: Sequence[str], name: str, user: str) -> list[str]:
    """Put the speaker's name before each line of a dialogue, and remove ``<START>``."""
    hers, theirs = _label(name, ""), _label(user, "you|user")
    is_dialogue = any(map(hers.match, lines))
    told: list[str] = []
    for line in lines:
        if _START.match(line) or _EXAMPLES.fullmatch(line):
            told.append("")
            line = _START.sub("", line, 1) if _START.match(line) else ""
        for label, speaker in ((hers, name), (theirs, user)):
            if is_dialogue and speaker and (found := label.match(line)):
                line = f"{speaker}: {line[found.end() :]}"
        told.append(line)
    return told


def _label(name: str, others: str) -> re.Pattern[str]:
    known = "|".join(filter(None, [re.escape(name), *map(re.escape, name.split()[:1]), others])) or r"(?!)"
    return re.compile(rf"[\s\"]*(\**)(?:{known})(?:\1\s*[:：]|\s*[:：]\1)\s*", re.IGNORECASE)


# --- lists of facts -------------------------------------------------------------------------------------------------


def _in_sentences(lines: Sequence[str], name: str, user: str) -> list[str]:
    told: list[str] = []
    facts: list[tuple[str, str, str]] = []
    for line in [*lines, ""]:
        fields = list(_FIELD.finditer(line))
        if fields and _SIGNS.fullmatch(_FIELD.sub("", line)):
            told += [sentence for field in fields if (sentence := _fact(field["key"], _values(field), name))]
            continue
        found = _LINE.fullmatch(line) if len(line) <= _LONGEST_FACT else None
        if found is not None and found["key"] not in (name, user):
            facts.append((line, found["key"], found["value"].rstrip(".")))
            continue
        is_list = len(facts) >= _LEAST_LIST
        told += [(_fact(key, value, name) if is_list else whole) for whole, key, value in facts]
        facts = []
        if not (_SIGNS.fullmatch(line) and line.strip()):
            told.append(line)
    return told[:-1]


def _values(field: re.Match[str]) -> str:
    values = [text.strip() for text in re.findall(r"\"([^\"]*)\"", field["values"]) if text.strip()]
    return " and ".join(filter(None, [", ".join(values[:-1]), *values[-1:]]))


def _fact(key: str, value: str, name: str) -> str:
    """Return one fact as a sentence, or as ``key: value`` if there is no pattern for it. Empty for the name itself."""
    key = key.strip().replace("_", " ")
    plain = key.casefold()
    if not value or (name and value.casefold() == name.casefold()):
        return ""
    if not name:
        return f"{key}: {value}."
    saying = _SAYING_OF.get(plain) or (_SAYINGS["whose"] if _QUALIFIED.match(plain) else "")
    if saying == _SAYINGS["age"] and not value.isdecimal():
        saying = _SAYINGS["whose"]
    if saying == _SAYINGS["has"] and plain in value.casefold():
        saying = "{name} has {value}."
    return saying.format(name=name, key=plain, value=value) if saying else f"{key}: {value}."


# --- long cards -----------------------------------------------------------------------------------------------------

_IS_A_FACT = re.compile(
    r"(?<!\w)(?:is|are|was|has|have|had|lives?|likes?|loves?|hates?|called|named|born|wears?|works?|afraid|years?|"
    r"sister|brother|mother|father|friend|wife|husband|hair|eyes|favou?rite|"
    r"ist|hat|heißt|wohnt|lebt|liebt|mag|hasst|trägt|Jahre|Haare|Augen|Schwester|Bruder|Freund\w*|"
    r"est|a|vit|aime|déteste|s'appelle|ans|cheveux|yeux|sœur|frère|ami\w*|"
    r"es|tiene|vive|gusta|odia|llama|años|pelo|ojos|hermana|hermano|"
    r"è|ha|vive|ama|odia|chiama|anni|capelli|occhi)(?!\w)|[はがのも].*(?:です|ます|だ|る|い)|[是有叫岁歲]|이다|입니다|"
    r"(?<!\w)(?:лет|зовут|любит|живёт|живет|волосы|глаза)(?!\w)",
    re.IGNORECASE,
)
_MOST_LOOKED_AT = 40_000
"""Characters of a paragraph that are considered when a card is shortened."""
_SHORT = 25
"""Words. Longer sentences are mostly prose."""


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Leave out the least important sentences until ``text`` fits; empty if nothing does.

    The last paragraph, which says who talks with whom, matters most, then what comes first, then short facts, then the
    rest. The order stays the same.
    """
    if fits(text):
        return text
    begun, _, last = text.rpartition("\n\n")
    paragraphs = [*begun[:_MOST_LOOKED_AT].split("\n\n"), last[:_MOST_LOOKED_AT]]
    sentences = [
        (sentence + end, number == len(paragraphs) - 1)
        for number, paragraph in enumerate(paragraphs)
        for sentence, end in _with_breaks(paragraph)
    ]
    ranked = sorted(range(len(sentences)), key=lambda place: (-_weight(place, *sentences[place]), place))

    def best(count: int) -> str:
        kept = sorted(ranked[:count])
        return _BREAKS.sub("\n\n", "".join(sentences[place][0] for place in kept)).strip()

    low, high = 0, len(sentences)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(best(middle)) else (low, middle)
    return best(low)


def _with_breaks(paragraph: str) -> list[tuple[str, str]]:
    """Return the sentences of a paragraph, each with the break after it."""
    cutter = Sentences()
    found = [*filter(None, map(cutter.take, paragraph)), cutter.rest]
    return [(sentence, "\n\n" if place == len(found) - 1 else "") for place, sentence in enumerate(found)]


def _weight(place: int, sentence: str, is_last: bool) -> float:
    words = words_in(sentence)
    return (
        (8.0 if is_last and words <= 2 * _SHORT else 0.0)
        + (3.0 if place < 2 else 1.0 if place < 6 else 0.0)
        + (2.0 if _IS_A_FACT.search(sentence) else 0.0)
        + (1.0 if 0 < words <= _SHORT else 0.0)
        - (1.0 if sentence.lstrip().startswith(("#", '"', "“")) else 0.0)
        - words / 200
    )
