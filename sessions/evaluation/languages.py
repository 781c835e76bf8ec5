"""Which language a text is in, as far as that can be seen without a model: scripts first, then small words.

Every Han, kana or hangul character counts one, and so does every word of another script (of two letters at least, so
that the x of a formula says nothing; commands of LaTeX are left out). The script that most of them are in is the
text's. Among Han and kana, a tenth of kana makes it Japanese, and Han alone Chinese where it is long enough, since a
short Japanese answer may have no kana. Latin letters are English, Spanish or Swahili by the small words in the text
(of, the; de, que; ya, kwa); of what has too few of them, or is in some other Latin language, only the script is told.

What it cannot see: other languages of a script it knows (Portuguese with Spanish words in it may pass for Spanish,
Persian and Urdu for Arabic), simplified from traditional Chinese, transliteration, and dialects. A text without
letters has no language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: What can be told, and the script of each.
LANGUAGES = {"zh": "han", "en": "latin", "es": "latin", "ar": "arabic", "ja": "han", "ko": "hangul", "sw": "latin"}

_SMALL = {
    "en": "the of and to is in that for it with was are be this which from by an not or have you we so what how "
    "there each if than then they at will can answer his her has been were would",
    "es": "el la de que en los las un una por con para es del se al como su más pero lo hay sus este esta está "
    "son fue ser cada entonces respuesta cuántos cuál qué tiene muy también porque",
    "sw": "ya na wa kwa ni katika za la cha vya kuwa hii huyo hiyo jibu ngapi kila yake yao wake wao lakini pia "
    "hivyo kama au sana moja mbili tatu idadi jumla nini je ana ina mji mkuu",
}
_BELONGS: dict[str, list[str]] = {}
for _language, _words in _SMALL.items():
    for _word in _words.split():
        _BELONGS.setdefault(_word, []).append(_language)

#: Words up to which one small word is enough to tell by, Han characters from which a text without kana is Chinese, and
#: the share of kana that makes one Japanese.
_BRIEF, _LONG, _KANA = 8, 12, 0.1
#: Scripts that Unicode names otherwise.
_CALLED = {"hiragana": "kana", "katakana": "kana", "halfwidth": "kana", "fullwidth": "latin", "ideographic": "han"}
_COMMAND = re.compile(r"\\[A-Za-z]+")
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def language_of(text: str) -> str:
    """One of `LANGUAGES`; or the script alone, "latin", "han", "cyrillic"; or "" for a text without letters."""
    words = _PIECE.findall(_COMMAND.sub(" ", text))
    count: Counter[str] = Counter()
    latin: list[str] = []
    for word in words:
        scripts = Counter(_script(character) for character in word if character.isalpha())
        for script in ("han", "kana", "hangul"):
            count[script] += scripts.pop(script, 0)
        if scripts and len(word) > 1:
            script = scripts.most_common(1)[0][0]
            count[script] += 1
            if script == "latin":
                latin.append(word.lower())
    together = count.pop("han", 0), count.pop("kana", 0)
    count["han"] = sum(together)
    script, most = count.most_common(1)[0]
    if not most:
        return ""
    if script == "han":
        if together[1] > _KANA * sum(together):
            return "ja"
        return "zh" if together[0] >= _LONG else "han"
    if script == "latin":
        return _of_latin(latin)
    return {"arabic": "ar", "hangul": "ko"}.get(script, script)


def kept(asked: str, reply: str) -> bool | None:
    """Whether a reply stayed in the language it was asked for in, both as `language_of` gives them.

    Where only the script of one is told, it is enough that the scripts agree. None where one has no language.
    """
    if not asked or not reply:
        return None
    if asked == reply:
        return True
    scripts = [LANGUAGES.get(each, each) for each in (asked, reply)]
    told = asked in LANGUAGES and reply in LANGUAGES
    return scripts[0] == scripts[1] and not told


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("CJK"):
        return "han"
    first = re.split("[ -]", name, maxsplit=1)[0].lower()
    return _CALLED.get(first, first)


def _of_latin(words: list[str]) -> str:
    votes: Counter[str] = Counter()
    for word in words:
        for language in _BELONGS.get(word, ()):
            votes[language] += 1
    (best, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    enough = 1 if len(words) <= _BRIEF else 2
    return best if most >= enough and most > second else "latin"
