"""Which legacy encoding a short name was written in: each reading has a price in bits, and the clearly lowest wins.

A letter costs the more the rarer it is in its language (Zipf's law over the orders in ``common_letters``), a pair of
letters that seldom meet costs more, and what does not belong to the script rules the reading out. No state, no guess
where two readings are close: the same bytes always come to the same answer (ADR 0009 has the measurements). Latin-1 has
rivals that no name is read in unasked: `Příloha` in windows-1250 is no `Pøíloha`, it is not clear.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.web.names import common_letters as letters
from service.web.names import latin_letters as latin

MARGIN_BITS = 5.0
"""By how much the best reading must be cheaper than the next, which is then 32 times less likely."""

ALPHABET_MARGIN_BITS = 9.0
"""The same for alphabets other than Latin, which differ by a table only: with 5, 2 % of such names were misread."""

LIKELY_BITS = 12.0
"""What the reading is let off that the client's language or charset speaks for; the second of them, two thirds."""

JUDGED_CHARACTERS = 64
"""As many are priced: a name longer than this tells no more, and the work stays bounded."""

_ASCII, _NOISE_BYTE, _NOISE = 5.0, 7.6, 4.0
"""A character of ASCII; a byte beyond it that means nothing, as every byte of binary data; and that it is binary."""

_BESIDE_ASCII_LETTERS = 1.5
"""For a Latin letter beyond ASCII: most letters of such a name are not."""

_LATIN_UNMET, _LATIN_PAIR_WEIGHT, _LATIN_NEUTRAL = 3.5, 0.5, 5
"""For a pair that its table has not; how much the rank of one that it has counts; and the part of the table, a fifth,
after which that is for the reading no longer."""

_ALONE, _LATIN_ALONE, _SIGN_IN_WORD, _AMID_ASCII = 5.0, 2.0, 6.0, 6.0
"""For a word of one letter beyond ASCII; the same in Latin letters; a sign between letters; one wide letter
between Latin ones."""

_PUNCTUATION = "、。「」『』（）【】《》〈〉“”‘’…—·！？，：；～＋－＿〇々"
_APOSTROPHES, _OPENING = "’", "‘“"
_COMMON_SIGNS = "’€"
_SIGNS = "–—‘’“”…°€£§©®"
_RARE_SIGNS = "ªº·²³½×«»№\xa0"


@dataclass(frozen=True)
class Script:
    """The letters of a language, and what each costs."""

    costs: Mapping[str, float]
    other: Mapping[tuple[str, str], float]
    """Ranges of letters that belong to the script without being common, and what any of those costs."""
    pairs: frozenset[str] = frozenset()
    met: float = 0.0
    """For two letters that often meet."""
    unmet: float = 0.0
    """For two that seldom do."""
    margin: float = MARGIN_BITS
    beside_ascii: float = 8.0
    """For a letter that touches one of ASCII: nobody mixes two alphabets within a word."""
    alone: float = 0.0
    """For a letter that is a word by itself."""
    is_wide: bool = False
    latin_pairs: Mapping[str, float] = field(default_factory=dict)
    """What each pair of letters costs that meets in a Latin alphabet, one of them beyond ASCII."""

    @property
    def is_latin(self) -> bool:
        """Return whether letters of ASCII are its own."""
        return bool(self.latin_pairs)

    def cost(self, character: str) -> float | None:
        """Return what a character beyond ASCII costs; None if it has no place in this script."""
        small = character.lower()
        known = self.costs.get(small if len(small) == 1 else character)
        if known is None:
            known = next((cost for (first, last), cost in self.other.items() if first <= character <= last), None)
        if known is None and self.is_wide and (character in _PUNCTUATION or "！" <= character <= "～"):
            known = 9.0
        if known is None and character in _SIGNS:
            known = 6.0 if character in _COMMON_SIGNS else 7.5
        if known is None and character in _RARE_SIGNS:
            known = 16.0 if character == "\xa0" else 10.0
        return known


def _ranked(order: str, extra: float = 0.0) -> dict[str, float]:
    """Return the cost of each letter: its frequency is taken as one through its rank."""
    whole = math.log2(math.log(len(order)) + 0.58) + extra
    return {letter: whole + math.log2(rank) for rank, letter in enumerate(order, 1)}


def _alphabet(order: str, pairs: str) -> Script:
    return Script(
        _ranked(order), {}, frozenset(pairs.split()), met=-2.0, unmet=3.0, margin=ALPHABET_MARGIN_BITS, alone=_ALONE
    )


def _wide(order: str, pairs: str, others: Mapping[tuple[str, str], float]) -> Script:
    costs = _ranked(order)
    return Script(costs, {**_HAN, **others}, frozenset(pairs.split()), met=-8.0, beside_ascii=4.0, is_wide=True)


def _latin(order: str, pairs: str) -> Script:
    others = {("À", "ſ"): 12.0, ("Ș", "ț"): 12.0}
    costs = _ranked(order, _BESIDE_ASCII_LETTERS)
    listed = pairs.split()
    met = {
        pair: _LATIN_PAIR_WEIGHT * math.log2(_LATIN_NEUTRAL * rank / len(listed)) for rank, pair in enumerate(listed, 1)
    }
    return Script(costs, others, unmet=_LATIN_UNMET, alone=_LATIN_ALONE, latin_pairs=met)


_HAN = {("一", "鿿"): 16.0, ("㐀", "䶿"): 16.0}
_SIMPLIFIED = _wide(letters.SIMPLIFIED_CHINESE, letters.SIMPLIFIED_CHINESE_PAIRS, {})
_TRADITIONAL = _wide(letters.TRADITIONAL_CHINESE, letters.TRADITIONAL_CHINESE_PAIRS, {})
_JAPANESE = _wide(letters.JAPANESE, letters.JAPANESE_PAIRS, {("ぁ", "ヿ"): 13.0, ("ｦ", "ﾟ"): 9.5})
_KOREAN = _wide(letters.KOREAN, letters.KOREAN_PAIRS, {("가", "힣"): 15.0, ("一", "鿿"): 18.0})
_CYRILLIC = _alphabet(letters.CYRILLIC, letters.RUSSIAN_PAIRS)
_WESTERN = _latin(latin.WESTERN, latin.WESTERN_PAIRS)
_CENTRAL_EUROPEAN = _latin(latin.CENTRAL_EUROPEAN, latin.CENTRAL_EUROPEAN_PAIRS)

_CANDIDATES: Mapping[str, tuple[Script, float]] = {
    "gb18030": (_SIMPLIFIED, 0.0),
    "cp1252": (_WESTERN, 0.0),
    "cp932": (_JAPANESE, 1.0),
    "cp949": (_KOREAN, 1.0),
    "cp1251": (_CYRILLIC, 1.0),
    "cp950": (_TRADITIONAL, 0.0),
    "euc_jp": (_JAPANESE, 4.0),
    "koi8_r": (_CYRILLIC, 4.0),
    "cp1253": (_alphabet(letters.GREEK, letters.GREEK_PAIRS), 4.0),
    "cp1256": (_alphabet(letters.ARABIC, letters.ARABIC_PAIRS), 4.0),
    "cp1255": (_alphabet(letters.HEBREW, letters.HEBREW_PAIRS), 5.0),
    "cp874": (_alphabet(letters.THAI, letters.THAI_PAIRS), 6.0),
}
"""Each with what it costs to suppose it, the rarer the more."""

_ON_HINT: Mapping[str, tuple[Script, float]] = {
    "cp1250": (_CENTRAL_EUROPEAN, 6.0),
    "cp1254": (_latin(latin.TURKISH, latin.TURKISH_PAIRS), 6.0),
    "cp1257": (_latin(latin.BALTIC, latin.BALTIC_PAIRS), 8.0),
    "iso8859_2": (_CENTRAL_EUROPEAN, 6.0),
    "koi8_u": (_CYRILLIC, 4.0),
}
"""Too like another to be told from it by a name alone: without a hint these are rivals."""

_RIVALS: Mapping[str, tuple[Script, float]] = {
    **_ON_HINT,
    "cp437": (_WESTERN, 4.0),
    "cp850": (_WESTERN, 4.0),
    "cp852": (_CENTRAL_EUROPEAN, 9.0),
    "cp866": (_CYRILLIC, 6.0),
    "mac_roman": (_WESTERN, 6.0),
}
"""No name is read in these, but where one makes sense of it, another reading is not clear."""


@dataclass(frozen=True, slots=True)
class _Reading:
    cost: float
    text: str
    margin: float


def recognised(raw: bytes, likely: Sequence[str] = ()) -> str | None:
    """Return what these bytes say, None where it is not clear; ``likely`` are codecs that the request speaks for."""
    readings = [
        (codec, reading)
        for codec, (script, prior) in {**_CANDIDATES, **_RIVALS}.items()
        if (reading := _reading(raw, codec, script, prior - _favour(codec, likely))) is not None
    ]
    if not readings:
        return None
    best = min((reading for _, reading in readings), key=lambda reading: reading.cost)
    others = [reading.cost for _, reading in readings if reading.text != best.text]
    is_told = any(reading.text == best.text for codec, reading in readings if codec in _CANDIDATES or codec in likely)
    margin = MARGIN_BITS if likely else best.margin
    is_clear = best.cost < _noise(raw) and all(best.cost + margin <= cost for cost in others)
    return best.text if is_clear and is_told else None


def _favour(codec: str, likely: Sequence[str]) -> float:
    return LIKELY_BITS / (1 + likely.index(codec) / 2) if codec in likely else 0.0


def _noise(raw: bytes) -> float:
    judged = raw[: 2 * JUDGED_CHARACTERS]
    beyond = sum(byte >= 0x80 for byte in judged)
    return _NOISE + _NOISE_BYTE * beyond + _ASCII * (len(judged) - beyond)


def _reading(raw: bytes, codec: str, script: Script, prior: float) -> _Reading | None:
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return None
    cost = _cost(text[:JUDGED_CHARACTERS], script)
    return None if cost is None else _Reading(prior + cost, text, script.margin)


def _cost(text: str, script: Script) -> float | None:
    """Return the price of a text, None if something in it does not belong there."""
    total, before, before_that = 0.0, " ", " "
    for character in text:
        cost = _ASCII if character.isascii() else script.cost(character)
        if cost is None or (not character.isprintable() and character != "\xa0"):
            return None
        total += cost + _beside(before, character, script) + _case(before_that, before, character)
        total += _between(before_that, before, character, script)
        before, before_that = character, before
    return total + _beside(before, " ", script) + _between(before_that, before, " ", script)


def _between(before: str, character: str, after: str, script: Script) -> float:
    """Return what it costs that a letter stands alone, or a sign between letters."""
    if character in _OPENING and _is_letter(before):
        return _SIGN_IN_WORD
    if character.isascii() or _is_letter(before) != _is_letter(after):
        return 0.0
    if _is_letter(character):
        if not _is_letter(after):
            return script.alone
        return _AMID_ASCII if script.is_wide and before.isascii() and after.isascii() else 0.0
    is_within = script.is_latin or (before.isascii() and after.isascii())
    return _SIGN_IN_WORD if _is_letter(after) and is_within and character not in _APOSTROPHES else 0.0


def _beside(before: str, character: str, script: Script) -> float:
    """Return what it costs that these two meet."""
    is_start, is_end = not _is_letter(before), not _is_letter(character)
    if (is_start or before.isascii()) and (is_end or character.isascii()):
        return 0.0
    if script.is_latin:
        pair = ("_" if is_start else before) + ("_" if is_end else character)
        return script.latin_pairs.get(pair.lower(), script.unmet)
    if is_start or is_end:
        return 0.0
    if before.isascii() or character.isascii():
        return script.beside_ascii
    often = (before + character).lower().replace("ς", "σ") in script.pairs
    return script.met if often else script.unmet


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character) == "Mn"


def _case(before_that: str, before: str, character: str) -> float:
    """Return what it costs to change between capitals and small letters: the wrong table does so at random."""
    if character.isupper():
        is_odd = before.islower() and not (before.isascii() and character.isascii())
        return 8.0 if is_odd else float(not character.isascii())
    is_mixed = character.islower() and before.isupper() and before_that.isupper()
    return 3.0 if is_mixed and not character.isascii() else 0.0
