"""Takes out what is not speech: markup, emoji, quotes, invisible characters, unusual punctuation."""

import html
import re
import unicodedata

_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.M)
_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", re.M)
_TABLE_RULE = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t]*(?::?-{2,}:?)?[ \t]*$", re.M)
_TABLE_ROW = re.compile(r"^[ \t]*\|(.*)\|[ \t]*$", re.M)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+(.*)$", re.M)
_QUOTE_MARK = re.compile(r"^[ \t]*(?:>[ \t]?)+", re.M)
_BULLET = re.compile(r"^[ \t]*[-*+•‣◦▪–][ \t]+(?:\[[ xX]\][ \t]+)?", re.M)
_NUMBERED = re.compile(r"^[ \t]*(\d{1,2})[.)][ \t]+(?=\S)", re.M)
_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,1000})\](?:\([^()\s]{0,2000}(?:[ \t]+\"[^\"\n]{0,500}\")?\)|\[[^\[\]\n]{0,200}\])"
)
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,40}\]:?")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,2000})>", re.I)
_HEART = re.compile(r"(?<!\S)<3(?!\S)")
_DROPPED_ELEMENT = re.compile(r"<(script|style)\b[^<>]{0,2000}>[^<]{0,20000}</\1\s*>", re.I)
_COMMENT = re.compile(r"<!--[^<>]{0,5000}-->")
_BLOCK_TAG = re.compile(
    r"</?(?:p|br|div|li|ul|ol|h[1-6]|tr|table|blockquote|section|article|title)\b[^<>]{0,2000}>", re.I
)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_CODE_TICKS = re.compile(r"`+")
_STRONG = re.compile(r"\*{2,}|_{2,}|~~")
_STAR = re.compile(r"(?<=\d) ?\* ?(?=\d)")
_EDGE_UNDERSCORE = re.compile(r"(?<!\w)_+|_+(?!\w)")

_BREAK = "\x1e"  # stands for the end of a sentence until the punctuation is tidied
BREAK = _BREAK

_SHORT_LINE = 45  # a hard-wrapped line is longer than this; a title, a list item or a verse is not
_ENDS = ".!?:;,。！？；：，、।؟؛…"

_QUOTE_SIGNS = '"“”„‟«»‹›〝〞〟＂「」『』《》〈〉【】〔〕‚`´′″'
_INNER_QUOTE = re.compile(rf"(?<=[^\W\d])[{_QUOTE_SIGNS}](?=[^\W\d])")
_QUOTES = dict.fromkeys(map(ord, _QUOTE_SIGNS), " ")
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼʹ＇‛"), "'")
_DASHES = dict.fromkeys(map(ord, "–—―‒⸺⸻﹘"), "–") | dict.fromkeys(map(ord, "‐‑﹣−"), "-")
_WIDTHS = "\t\v\f\u00a0\u1680\u180e\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPACES = dict.fromkeys(map(ord, _WIDTHS), " ")
_MARKS = str.maketrans(
    dict.fromkeys("•‣|¦→⇒➜←", ", ")
    | dict.fromkeys("⋅∙✕✖", "×")
    | dict.fromkeys("⁄∕؍", "/")
    | dict.fromkeys("⁓〜～", "~")
    | {"…": "...", "⋯": "...", "‥": "..", "·": " ", "．": ".", "۔": ".", "＊": "*", "№": "#", "‽": "?", "॥": "।"}
    | {"㎞": "km", "㎏": "kg", "㎡": "m²", "℃": "°C", "℉": "°F", "˚": "°", "٪": "%", "％": "%"}
    | {"￥": "¥", "￡": "£", "￦": "₩", "﷼": " "}
)
_TRANSLATE = _SPACES | _QUOTES | _APOSTROPHES | _DASHES | _MARKS
_CJK_MARKS = str.maketrans(
    {"，": ", ", "！": "! ", "？": "? ", "；": "; ", "：": ": ", "。": ". ", "、": ", ", "（": "(", "）": ")"}
)

_KEPT_FORMAT = "\u200c\u200d"  # joiners: letters of Hindi and Arabic depend on them
_GROUPED = re.compile(r"(?<!\d)\d{1,3}(?:[\u00a0\u202f\u2009'’٬]\d{3})+(?!\d)")
# ligatures, half-width katakana, and the mathematical letters that stand for bold and italics on social networks
_COMPATIBLE = re.compile(r"[\ufb00-\ufb06\uff66-\uff9f\U0001d400-\U0001d7cb]+")
_LONE_APOSTROPHE = re.compile(r"(?<!\w)'(?![stnmk] \w)|'(?!\w)")  # Dutch: 's avonds


def strip_markup(text: str) -> str:
    """Markdown and HTML to plain lines; ends of headings, list items and paragraphs become breaks."""
    text = (
        text.replace("\r\n", "\n")
        .replace("\r", "\n")
        .replace("\u2028", "\n")
        .replace("\u2029", "\n\n")
        .replace("\x85", "\n")
    )
    text = re.sub(r"[ \t]+", " ", text.replace(_BREAK, " "))
    text = _HEART.sub(" ", _AUTOLINK.sub(r"\1", text))
    text = _COMMENT.sub(" ", _DROPPED_ELEMENT.sub(" ", text))
    text = _TAG.sub("", _BLOCK_TAG.sub(f"{_BREAK}\n", text))
    text = html.unescape(text)
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _FOOTNOTE.sub("", text)
    text = _FENCE.sub(_BREAK, text)
    text = _RULE.sub(_BREAK, _TABLE_RULE.sub("", text))
    text = _QUOTE_MARK.sub("", text)
    text = _HEADING.sub(lambda m: _BREAK + m[1].rstrip(" \t#") + _BREAK, text)
    text = _TABLE_ROW.sub(lambda m: ", ".join(c.strip() for c in m[1].split("|") if c.strip()) + _BREAK, text)
    text = _BULLET.sub(_BREAK, text)
    # A lone "1. Mai" at the start of a line is an ordinal, not a list.
    if len(_NUMBERED.findall(text)) > 1:
        text = _NUMBERED.sub(rf"{_BREAK}\1, ", text)
    return _join_lines(text)


def _join_lines(text: str) -> str:
    lines = [line.strip(" \t") for line in text.split("\n")]
    parts = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line:
            continue
        parts.append(line)
        ends = not following or (len(line) < _SHORT_LINE and not following[0].islower() and line[-1] not in ",،、，-–—")
        parts.append(_BREAK if ends else "\n")
    return "".join(parts).strip(_BREAK + "\n")


def plain_marks(text: str) -> str:
    """What is left of emphasis once addresses are words."""
    text = _STAR.sub(" × ", text)
    text = _CODE_TICKS.sub(" ", _STRONG.sub("", text))
    text = _EDGE_UNDERSCORE.sub("", text).replace("_", " ")
    return text.replace("*", "")


def characters(text: str, *, spaced: bool) -> str:
    """NFC with ASCII digits, straight apostrophes, few kinds of dashes and no quotes."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "ignore").decode("utf-8"))
    text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), _digits(text))
    # Wrapped lines of Chinese and Japanese join without a space.
    text = re.sub(r"(?<=[^\x00-\u2fff])\n(?=[^\x00-\u2fff])", "", text) if not spaced else text
    # Korean particles follow a quotation without a space
    text = _INNER_QUOTE.sub("", text).replace("\n", " ").translate(_TRANSLATE)
    if spaced:
        text = text.translate(_CJK_MARKS)
    text = _COMPATIBLE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    text = "".join(_wide(c) for c in text if _is_kept(c))
    return single_spaces(_LONE_APOSTROPHE.sub(" ", text))


def single_spaces(text: str) -> str:
    """Before any pattern that begins with optional space: on a long run of it such a pattern takes quadratic time."""
    return re.sub(r" +", " ", text)


def _digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(_digit(c) for c in text)


def _digit(c: str) -> str:
    if c.isascii() or c in "²³":
        return c
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    if unicodedata.category(c) in ("No", "Nl") and c not in "½¼¾":
        # circled and superscript digits, Roman numeral signs; what stays unreadable is dropped later
        return " " + unicodedata.normalize("NFKC", c) + " " if not c.isdigit() else str(unicodedata.digit(c))
    return c


def _wide(c: str) -> str:
    """Full-width letters and signs to ASCII, the sentence marks of Chinese and Japanese left alone."""
    return chr(ord(c) - 0xFEE0) if "！" <= c <= "～" and c not in "，！？；：" else c


_KEPT_SYMBOLS = set("+<=>~|^$€£¥₹₺₽₩°%‰&@#§/×÷±≤≥≈½¼¾²³ºª`") | {_BREAK}


def _is_kept(c: str) -> bool:
    if c.isascii():
        return c.isprintable() or c == _BREAK
    category = unicodedata.category(c)
    if category[0] in "LMZP" or c in _KEPT_SYMBOLS or c in _KEPT_FORMAT:
        # variation selectors, the keycap and skin tones belong to emoji
        return not ("\ufe00" <= c <= "\ufe0f" or c == "\u20e3" or c == "\u2060" or "\U000e0000" <= c <= "\U000e0fff")
    return category in ("Nd", "No", "Nl")
