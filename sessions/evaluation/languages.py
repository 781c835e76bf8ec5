"""Recognises the language of a text without a model: by its script, then by small words.

Every Han, kana or hangul character counts one. Every word of another script counts one too, if it has at least two
letters, so that the x of a formula does not count. Commands of LaTeX are ignored. The script with the largest count is
the text's. If a tenth of Han and kana characters are kana, the text is Japanese. Han alone is Chinese if it is long
enough, because a short Japanese answer can have no kana. A Latin text is English, Spanish or Swahili by its small words
(of, the; de, que; ya, kwa). If it has too few of them, the result is the script alone.

It cannot tell apart: other languages of a known script (Portuguese can pass for Spanish, Persian and Urdu for Arabic),
simplified and traditional Chinese, transliterations, and dialects. A text without letters has no language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: The languages that are recognised, and the script of each.
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

#: The most words of a text that one small word decides, the least Han characters of a Chinese text, and the least share
#: of kana in a Japanese one.
_BRIEF, _LONG, _KANA = 8, 12, 0.1
#: Scripts with other names in Unicode.
_CALLED = {"hiragana": "kana", "katakana": "kana", "halfwidth": "kana", "fullwidth": "latin", "ideographic": "han"}
_COMMAND = re.compile(r"\\[A-Za-z]+")
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def language_of(text: str) -> str:
    """One of `LANGUAGES`, or a script ("latin", "han", "cyrillic"), or "" for a text without letters."""
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
    han, kana = count.pop("han", 0), count.pop("kana", 0)
    count["han"] = han + kana
    script, most = count.most_common(1)[0]
    if not most:
        return ""
    if script == "han":
        if kana > _KANA * (han + kana):
            return "ja"
        return "zh" if han >= _LONG else "han"
    if script == "latin":
        return _of_latin(latin)
    return {"arabic": "ar", "hangul": "ko"}.get(script, script)


def kept(prompt: str, reply: str) -> bool | None:
    """Whether a reply kept the language of its prompt, both as `language_of` gives them.

    If only the script of one is known, equal scripts are enough. None if one has no language.
    """
    if not prompt or not reply:
        return None
    if prompt == reply:
        return True
    scripts = [LANGUAGES.get(language, language) for language in (prompt, reply)]
    both_known = prompt in LANGUAGES and reply in LANGUAGES
    return scripts[0] == scripts[1] and not both_known


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
