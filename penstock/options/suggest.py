"""The nearest option name to a word that is none. Pure; the table is its only source."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.options.known import FOREIGN_WORDS
from penstock.options.table import BY_NAME


def distance(left: str, right: str, most: int | None = None) -> int:
    """Count the insertions, deletions, replacements and swaps of neighbours between two words.

    This is the restricted Damerau-Levenshtein distance: a swap counts as one, as in `vaccum`. With `most` the counting
    stops as soon as there are more than that, and the answer is some number above it.
    """
    before: list[int] = []
    above = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        line = [row]
        for column, b in enumerate(right, 1):
            cost = min(above[column] + 1, line[-1] + 1, above[column - 1] + (a != b))
            if row > 1 and column > 1 and a == right[column - 2] and left[row - 2] == b:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        # A swap reaches back by two lines, everything else by one.
        if most is not None and min(line) > most and min(above) > most:
            return most + 1
        before, above = above, line
    return above[-1]


def nearest(word: str, names: Iterable[str] | None = None) -> str | None:
    """Find the option that was probably meant by `word`, or None.

    A name that only differs in case or `_` for `-` wins, then a name that `word` begins (the shortest), then one that
    is at most a third of the word away.
    """
    candidates = sorted(BY_NAME) if names is None else sorted(names)
    plain = word.lower().replace("_", "-").strip("-")
    if plain in candidates:
        return plain
    if plain in FOREIGN_WORDS and FOREIGN_WORDS[plain] in candidates:
        return FOREIGN_WORDS[plain]
    if len(plain) < 3:
        return None
    begun = [name for name in candidates if name.startswith(plain)]
    if begun:
        return min(begun, key=len)
    allowed = max(1, len(plain) // 3)
    letters = set(plain)
    best: tuple[int, str] | None = None
    for name in candidates:
        # Each letter that only one of the two has takes a step of its own: most names need not be compared.
        if len(name) < 3 or abs(len(name) - len(plain)) > allowed or len(letters.difference(name)) > allowed:
            continue
        if len(set(name) - letters) > allowed:
            continue
        found = distance(plain, name, allowed)
        if found <= allowed and (best is None or found < best[0]):
            best, allowed = (found, name), found
    return best[1] if best is not None else None
