"""Healthy replies in twenty languages and ways of writing, made by combining short texts written for this project."""

from __future__ import annotations

import random
from collections.abc import Iterator

WAYS: dict[str, tuple[str, ...]] = {
    "casual English": (
        "lol yeah that is exactly what i have",
        "omg you have no idea how happy i was",
        "idk",
        "i mean it depends on where you come from",
        "hehe",
        "so anyway i was like",
        "nah we can do that at 5 pm",
        "you are the only one i can talk to about this stuff with",
        "brb",
        "wait what",
        "it's at 12 elm street",
        "k",
    ),
    "careful English": (
        "I had a lovely morning with a warm cup of tea.",
        "You always know how to make me smile, don't you?",
        "The garden looks so green after all that rain!",
        "Mr. Smith of the U.S. paid $3.50 at 10:30.",
        'She said, "Not today," and closed the door.',
        "Well… perhaps we should try again tomorrow.",
        "Sorry, I'm late.",
        "Error 404 is my favorite joke.",
    ),
    "German": (
        "Ich fange morgen damit an",
        "ich mach mir gleich einen tee und dann fang ich mit dem kochen an",
        "Übrigens: Straßenbahnen sind größer, als man denkt.",
        "Kommst du mit?",
        "„Na gut“, sagte sie, „aber nur kurz.“",
        "bis später dann",
        "Das kostet 3,50 €.",
    ),
    "French": (
        "Ça va bien, et toi ?",
        "« Pas aujourd’hui », dit-elle.",
        "j'sais pas trop mdr",
        "L'été dernier, nous étions à Nîmes.",
        "Un cœur, c’est déjà beaucoup…",
        "à tout à l'heure",
    ),
    "Spanish": (
        "¿Qué haces mañana?",
        "¡Qué bueno verte, de verdad!",
        "jajaja no me lo creo",
        "El niño soñó con el pingüino.",
        "vale, nos vemos a las 8",
        "Te quiero un montón",
    ),
    "Portuguese and Italian": (
        "Não sei não, amanhã a gente vê",
        "Coração, você é demais!",
        "kkkkk",
        "Perché no? È una bella idea.",
        "ci vediamo dopo",
        "Più tardi andiamo al caffè",
    ),
    "Polish and Czech": (
        "Zażółć gęślą jaźń.",
        "no to do jutra",
        "Chyba masz rację, ale kto wie…",
        "Příliš žluťoučký kůň.",
        "nevím, co mám říct",
        "Dobrou noc!",
    ),
    "Russian and Ukrainian": (
        "Я так рада тебя видеть!",
        "ну ладно, давай завтра",
        "ахаха)))",
        "Скільки коштує кава?",
        "Чай уже готов, садись рядом",
        "не знаю",
    ),
    "Greek": ("Καλημέρα! Τι κάνεις;", "δεν ξέρω ακόμα", "Ο ήλιος βγήκε· πάμε βόλτα.", "χαχα ναι", "στις 7 το απόγευμα"),
    "Turkish": (
        "İyi akşamlar, nasılsın?",
        "bilmiyorum ya",
        "Çok güzel bir gün, değil mi?",
        "ıssız bir ada",
        "haha evet",
    ),
    "Japanese": (
        "今日はとてもいい天気ですね。",
        "公園を散歩して、それから二人でケーキを食べに行きたいな",
        "うん",
        "えへへ、そうかな？",
        "私はいちごのショートケーキが一番好きで、甘い",
        "「おはよう」って言ってくれる？",
        "(*´▽`*)",
        "草",
    ),
    "Chinese": (
        "今天的天气真好，我们一起去公园散步吧。",
        "你喜欢什么口味的蛋糕呢？我最喜欢的是",
        "哈哈哈",
        "嗯",
        "我今天很高興見到你",
        "看看，休息休息吧",
        "大概下午三点",
    ),
    "Korean": ("오늘 날씨가 정말 좋네요!", "ㅋㅋㅋㅋ", "나도 잘 모르겠어", "내일 세 시에 만나", "보고 싶었어…", "응"),
    "Thai": (
        "วันนี้อากาศดีมากเลย",
        "ฉันอยากไปเดินเล่นในสวนสาธารณะกับเธอแล้วเราจะกินไอศกรีมด้วยกัน",
        "5555",
        "ไม่เป็นไรนะ",
        "จริงเหรอ",
    ),
    "Arabic, Persian and Hebrew": (
        "صباح الخير، كيف حالك؟",
        "لا أعرف بعد",
        "ههههه",
        "من هم خوبم، مرسی",
        "می\u200cروم خانه",
        "מה שלומך היום?",
        "אני לא יודעת",
        "الساعة ٥ مساءً",
    ),
    "Hindi and Tamil": (
        "नमस्ते! आप कैसे हैं?",
        "मुझे चाय बहुत पसंद है।",
        "हाहा सच में",
        "பூனை தூங்குகிறது",
        "क्षमा कीजिए, ज़रा देर हो गई",
        "वणक्कम் नहीं, வணக்கம்!",
    ),
    "emoji and emoticons": (
        ":3",
        "<3",
        "🎉🎉🎉",
        "👩\u200d👩\u200d👧\u200d👦 family time",
        "🏳️\u200d🌈 🇯🇵 ok",
        "^_^",
        "(╯°□°)╯︵ ┻━┻",
        "❤️",
        "xD",
        "UwU what's this",
        "¯\\_(ツ)_/¯",
    ),
    "actions and roles": (
        "*smiles*",
        "*hugs you* there there",
        "**so** happy~",
        "_whispers_ come here",
        "~ la la la ~",
        "*looks up, grinning*",
        "Waifu: that is what they call me",
        "-- and then? --",
        "(giggles)",
    ),
    "code, numbers and lists": (
        "```py\nif a < b and c > d:\n    print('&amp;', \"\\n\")\n```",
        "1. tea\n2. cake\n3. you",
        "- one\n- two\n  - three",
        "3.14159",
        "42",
        "E = mc^2",
        "https://example.org/a?b=c&d=e#f",
        "x = [i**2 for i in range(10)]",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "<b>bold</b> &lt;3",
        "C:\\Users\\me",
        '{"choices": [{"delta": {"content": "data: [DONE]"}}]}',
        "data: x",
        "100%",
    ),
    "poems": (
        "The moon is a lantern\nhung over the sea,\n\nit shines for the sailors\nand a little for me",
        "Roses are red\r\nViolets are blue",
        "\tstep\n\t\tby step\n\t\t\tdown",
        "古い池に\n蛙の音",
        "Still,\n   still,\n      still",
        "O rose, thou art—",
    ),
}
JOINS = (" ", " ", "\n", " … ", ", ", "\n\n", "  ")
TAILS = (
    "",
    "",
    "",
    " ",
    "\n",
    " <3",
    " :3",
    "…",
    "!!",
    "?",
    " lol",
    " and",
    " the",
    ",",
    " -",
    "\u200d",
    "\ufe0f",
    " 😀",
    "~",
    '"',
)


def replies(count: int, seed: int = 11) -> Iterator[tuple[str, str]]:
    """``count`` times a way of writing and a reply in it, never without a word or a picture."""
    chance = random.Random(seed)
    names = list(WAYS)
    for number in range(count):
        way = names[number % len(names)]
        texts = [chance.choice(WAYS[way]) for _ in range(chance.choice((1, 1, 2, 3, 5)))]
        reply = texts[0]
        for text in texts[1:]:
            reply += chance.choice(JOINS) + text
        yield way, reply + chance.choice(TAILS)


def pieces(reply: str, number: int) -> list[str]:
    """``reply`` as a server may cut it: anywhere between two characters, also inside a word or an emoji of several."""
    chance, cut, at = random.Random(number), list[str](), 0
    while at < len(reply):
        size = chance.choice((1, 2, 3, 4, 6, 9))
        cut.append(reply[at : at + size])
        at += size
    return cut
