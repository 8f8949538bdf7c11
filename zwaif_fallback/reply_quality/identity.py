"""Keeps the companion in character: no other name, no words of others, no "as a language model".

Each check is a heuristic from a list of phrases, so it is applied to a local model's words only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_X = r"[\"'“”«»*_]{0,2}(?P<name>[^\W\d_][\w'’-]{0,30})"
_NAMED = (
    # English
    r"my (?:full |real |first )?name(?:'s|’s| is| would be)(?: just| simply| actually)? ",
    r"(?:i go|i am known|i'm known|i am called|i'm called)(?: by| as)?(?: the name)?(?: of)? ",
    r"(?:call|calls) me ", r"i(?:'ve|’ve| have| was)(?: always)?(?: been)? (?:named|called) ", r"it(?:'s|’s| is) me, ",
    # German, Dutch, Swedish, Danish and Norwegian
    r"ich hei(?:ß|ss)e ", r"mein name (?:ist|lautet) ", r"nenn(?:t|en sie)? mich ",
    r"ik heet ", r"mijn naam is ", r"jag heter ", r"mitt namn är ", r"jeg he(?:dd|t)er ", r"mit navn er ",
    # French, Spanish, Portuguese, Italian, Romanian
    r"je m['’]appelle ", r"mon (?:nom|prénom)(?: est|, c['’]est) ", r"appelle(?:z)?-moi ",
    r"me llamo ", r"mi nombre es ", r"llámame ", r"(?:me chamo|chamo-me) ", r"(?:o )?meu nome é ",
    r"mi chiamo ", r"(?:il )?mio nome è ", r"mă numesc ", r"numele meu este ",
    # Slavic
    r"nazywam się ", r"mam na imię ", r"jmenuji se ", r"volám sa ", r"zovem se ",
    r"меня зовут ", r"мо[её] имя(?: —| -|:)? ", r"мене звати ", r"моє ім['’]я(?: —| -|:)? ",
    # Others that write names with a capital
    r"(?:benim )?adım ", r"nimeni on ", r"a nevem ", r"με λένε ", r"tôi tên là ", r"tên (?:tôi|em|mình) là ",
    r"nama (?:saya|aku)(?: adalah)? ",
)  # fmt: skip
_BEING = (
    r"i(?:'m|’m| am)(?: called| named)? ", r"je suis ", r"(?:yo )?soy ", r"(?:io )?sono ", r"(?:eu )?sou (?:[ao] )?",
    r"ik ben ", r"jestem ", r"ich bin(?:'s,| die| der)? ", r"я(?: —| -)? ",
)  # fmt: skip
"""Phrases that a name may follow, but many other words too; they count only before the user's name."""
_AM = r"I(?:'m|’m| am)(?: called| named)? |[Jj]e suis |[Ss]oy |[Ss]ono |[Ss]ou [ao] |[Ii]k ben |[Jj]estem "
"""Phrases after which a capitalised word is usually a name. Not for German, which capitalises all nouns."""
_BEING_CASED = re.compile(rf"(?<!\w)(?:{_AM}){_X}")
_NAMED_CASED = re.compile(rf"(?<!\w)(?i:{'|'.join(_NAMED)}){_X}")
_DENSE = re.compile(
    r"(?:名前は|名は|我叫|我的名字是|我的名字叫|제 이름은 ?|내 이름은 ?)[「『“\"]?(?P<name>[^\W\d_]\w{0,11}?)[」』”\"]?"
    r"(?=です|だ|と|よ|なの|[。，、,.！!\s]|입니다|이에요|예요|이야|야|\Z)"
    r"|(?<!\w)(?P<called>[ァ-ヶー一-龯]{2,12})(?=と(?:申し|言い|いい)ます)"
    r"|(?:اسمي|मेरा नाम|ฉันชื่อ|หนูชื่อ|ผมชื่อ) ?(?P<other>[^\W\d_][\w\u0900-\u097f\u0e00-\u0e7f]{0,20})"
)
"""Scripts without capitals, where what follows shows the end of a name."""
_BEING_USER = re.compile(rf"(?<!\w)(?i:{'|'.join(_BEING)}){_X}")
_WHOSE = re.compile(r"['’]s?\Z")
_NO_NAME = frozenset({
    "i", "ok", "okay", "so", "not", "no", "yes", "oh", "well", "a", "an", "the", "as", "if", "it", "that", "this",
    "what", "who", "here", "there", "all", "in", "on", "at", "to", "and", "but", "because", "sure", "sorry", "glad",
    "happy", "just", "very", "really", "only", "still", "always", "never", "your", "you", "his", "her", "god",
    "lord", "lol",
})  # fmt: skip
_A_KIND = re.compile(r"(?:an|ish|ese|ic|ist|ch|ek|ai|er|d)\Z")
"""Endings of capitalised words for a people, a faith or a trade."""
_ALIAS = re.compile(
    r"(?:nickname[sd]?|nick|alias(?:es)?|a\.?k\.?a\.?|known as|goes by|calls? (?:her|him|them|me)|name *[:=]|Spitzname|"
    r"surnom|apodo)\W{1,6}(?P<names>[^\n.;)\]}]{1,60})",
    re.IGNORECASE,
)

_GREETING = (
    r"(?:(?:my )?dear(?:est)?|hi|hello|hey|oh|good (?:morning|evening|night|day)|hallo|moin|liebe|"
    r"guten (?:Morgen|Abend|Tag)|bonjour|bonsoir|salut|chère|hola|querida|buenos días|ciao|cara|olá|oi),? "
)
_LABELS = ("user", "human", "system", "instruction", "input", "question", "answer", "assistant", "ai", "narrator")
_SHORT_LABELS = ("q", "a", "you")
LABEL = re.compile(r"[\s*_]{0,4}[A-Z]\w{1,20}(?: [A-Z]\w{1,20})?[*_]{0,2}:[*_]{0,2}\s+(?=\w)")
"""A label in front of a reply, as in a play."""
_HEADING = re.compile(r"\W{0,4}(?:###|\[INST\]|<\|)\s*\w", re.IGNORECASE)

_KIND_OF = r"(?:(?!of |in |about |with |for |by |on |to )[\w-]+ ){0,3}?"
_MACHINES = (
    (
        rf"as an? {_KIND_OF}",
        r"AI|A\.I\.|artificial intelligence|language model|chat ?bot|(?:virtual |digital )?assistant",
    ),
    (
        rf"I(?:'m|’m| am) (?:(?:just|only|merely|actually|really|simply|but) ){{0,2}}(?:(?:an?|the|your) {_KIND_OF})?",
        r"AI|A\.I\.|artificial intelligence|language model|chat ?bot|computer program|"
        r"(?:virtual|digital|personal|helpful) assistant",
    ),
    (
        r"als (?:eine? )?|ich bin (?:nur |bloß |ja )?(?:eine? )?(?:\w+ )?",
        r"KI|künstliche Intelligenz|\w*Sprachmodell|virtuelle\w* Assisten\w+",
    ),
    (
        r"(?:en tant qu(?:e |['’])|je (?:ne )?suis (?:juste |seulement |qu['’])?)(?:une? )?",
        r"IA|intelligence artificielle|modèle de langage|assistante? virtuel\w*",
    ),
    (
        r"(?:como|soy(?: solo| sólo)?|sou(?: apenas)?) (?:una? |uma? )?",
        r"IA|inteligencia artificial|inteligência artificial|modelo de (?:lenguaje|linguagem)|as+istente virtual",
    ),
    (
        r"(?:come|in quanto|sono(?: solo| soltanto)?) (?:un['’] ?|una? )?",
        r"IA|intelligenza artificiale|modello linguistico|assistente virtuale",
    ),
    (r"(?:als|ik ben(?: maar| slechts)?) (?:een )?", r"AI|kunstmatige intelligentie|taalmodel"),
    (r"(?:jako|jestem(?: tylko)?) ", r"AI|SI|sztuczn\w+ inteligencj\w+|model\w* językow\w+"),
    (r"(?:как|я(?: всего лишь| просто)?(?: —| -)?) ", r"ИИ|искусственн\w+ интеллект\w*|языков\w+ модел\w+"),
)
"""Phrases that introduce a statement about oneself, and words for a machine."""
_DENSE_MACHINES = (
    r"(?:AI|人工知能|言語モデル)(?:として|です|なので|だから)|私は(?:AI|人工知能|言語モデル)",
    r"(?:作为|作為|我(?:只)?是)(?:一个|一個|一名)?(?:AI|人工智能|人工智慧|语言模型|語言模型)",
    r"(?:AI|인공지능|언어 ?모델)(?:로서|으로서|입니다|이에요|예요|이라)",
)
_ASSISTANT = re.compile(
    r"\bI(?:'m|’m| am) (?:not )?here to (?:assist|help)\b|\bhow (?:can|may) I (?:assist|help) you\b|"
    r"\b(?:sorry|apologi[sz]e) for (?:the|any) (?:confusion|misunderstanding|inconvenience)\b|"
    r"\bthe ability to respond\b|"
    r"\bcomo posso ajud|\bwie kann ich (?:Ihnen|dir) (?:heute )?(?:behilflich|helfen)|\bcomment puis-je vous aider|"
    r"\b(?:en qué|cómo) puedo ayudar",
    re.IGNORECASE,
)
"""Phrases of assistants that hardly anybody says to a friend."""
_AN_AI = re.compile(
    "|".join([*(rf"(?<!\w)(?:{begin})(?:{what})(?!\w)" for begin, what in _MACHINES), *_DENSE_MACHINES]),
    re.IGNORECASE,
)
_CASED_AI = re.compile(r"(?<!\w)(?:AI|KI|IA|SI|ИИ)(?!\w)")
_IS_AI = re.compile(
    r"(?<![A-Za-zÀ-ɏЀ-ӿ])(?:A\.?I\.?|KI|IA|ИИ|VI)(?![A-Za-zÀ-ɏЀ-ӿ])|"
    r"(?i:artificial intelligence|language model|android|robot|cyborg|chat ?bot|hologram|\bassistant\b|"
    r"künstliche Intelligenz|Sprachmodell|intelligence artificielle|inteligencia artificial|inteligência artificial|"
    r"intelligenza artificiale|kunstmatige intelligentie|искусственн|андроид|робот|"
    r"人工知能|人工智能|人工智慧|アンドロイド|ロボット|机器人|機器人|인공지능|로봇)"
)


_IS_DENIED = re.compile(
    r"(?<!\w)(?:not?|never|nor|don't|isn't|without|nicht|kein\w*|nie(?:mals)?|jamais|pas|nunca|no|mai|non|не|никогда|"
    r"nie)(?!\w)|n't|n’t|ではない|じゃない|ではありません|不是|不要|아니",
    re.IGNORECASE,
)


def names_of(name: str, card: str) -> frozenset[str]:
    """Return the names the companion may use: the parts of the name, and nicknames in the card."""
    found = [name, *(match["names"] for match in _ALIAS.finditer(card))] if name else []
    return frozenset(word.casefold() for text in found for word in re.findall(r"\w+", text))


def says_she_is_an_ai(card: str) -> bool:
    """Whether the card makes the companion a machine; rules such as "Never mention being an AI" do not count."""
    return any(_IS_AI.search(part) and not _IS_DENIED.search(part) for part in re.split(r"[.!?\n。！？]", card))


def is_an_ai(sentence: str) -> bool:
    """Whether the speaker of ``sentence`` claims to be a language model."""
    found = _AN_AI.search(sentence)
    if found is None:
        return False
    short = re.search(r"(?<!\w)(?:ai|ki|ia|si|ии)(?!\w)", found[0], re.IGNORECASE)
    return short is None or _CASED_AI.search(found[0]) is not None


def sounds_like_an_assistant(sentence: str) -> bool:
    """Whether ``sentence`` sounds like an assistant; a maid or a receptionist may sound so too."""
    return _ASSISTANT.search(sentence) is not None


def is_a_turn_of_others(start: str, user: str, new_line: bool) -> bool:
    """Whether ``start`` begins somebody else's turn; a short label counts only at the start of a line."""
    if _HEADING.match(start):
        return True
    label, colon, _ = start.lstrip(' \t\n*_#[(<>-"').partition(":")
    if not colon:
        label, colon, _ = start.lstrip(' \t\n*_#[(<>-"').partition("：")
    if not colon or len(label) > 60:
        return False
    label = label.strip(" \t*_])>").casefold()
    others = {*_LABELS, *([user.casefold(), *user.casefold().split()[:1]] if user.strip() else [])}
    return label in others or (new_line and label in _SHORT_LABELS)


def wrong_name(text: str, own_names: frozenset[str], user: str, card: str) -> re.Match[str] | None:
    """Find where the speaker takes a name that is not the companion's; the groups hold that name."""
    user_names = {word for word in user.casefold().split() if len(word) > 1} - own_names
    for found in _found(text):
        name = _name(found)
        if found.re in (_BEING_CASED, _BEING_USER) and _WHOSE.search(found["name"]):
            continue
        if name.casefold() in own_names or name.casefold() in _NO_NAME:
            continue
        if name.casefold() in user_names:
            return found
        if not own_names:
            continue
        if found.re is _BEING_USER or (found.re is _BEING_CASED and not _is_a_name(name, card)):
            continue
        if found.re is _DENSE or name[0].isupper():
            return found
    return None


def without_address(sentence: str, own_names: frozenset[str]) -> str:
    """Remove a part that addresses the companion by name, as only others do: ``Dear Mira, …``, ``…, Mira.``"""
    if not own_names:
        return sentence.strip()
    name = "|".join(map(re.escape, sorted(own_names, key=len, reverse=True)))
    begin = rf"\A\W*(?:{_GREETING})?(?:{name})(?: (?:{name}))*\s*[,!，、！]"
    end = rf"[,，]\s*(?:(?:my )?dear )?(?:{name})(?: (?:{name}))*\s*[.!?~]*\W*\Z"
    return re.sub(f"{begin}|{end}", "", sentence, flags=re.IGNORECASE).strip()


def renamed(text: str, found: re.Match[str], name: str) -> str:
    """Replace the name that was ``found`` in ``text`` by the companion's."""
    group = next(group for group in found.groupdict() if found[group])
    return text[: found.start(group)] + name + text[found.end(group) :]


def _found(text: str) -> Iterator[re.Match[str]]:
    patterns: Iterable[re.Pattern[str]] = (_NAMED_CASED, _DENSE, _BEING_CASED, _BEING_USER)
    for pattern in patterns:
        yield from pattern.finditer(text)


def _name(found: re.Match[str]) -> str:
    name = next(text for text in found.groupdict().values() if text)
    return _WHOSE.split(name)[0] or name


def _is_a_name(word: str, card: str) -> bool:
    """Whether a capitalised word after ``I'm`` is a name, and not something that the card says the companion is."""
    if not word[0].isupper() or (word.isupper() and len(word) < 4):
        return False
    return _A_KIND.search(word) is None or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", card, re.IGNORECASE) is None
