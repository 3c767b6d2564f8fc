"""Arms: what is compared, read from words in which a value may be a list. Imports no torch.

`variant=latte1,latte2 train.lr=1e-4,3e-4 seed=0,1,2` is the product of its lists: four arms of three seeds. Commas
inside brackets, braces or quotes separate nothing: `dataset.motions=[left,up]` is one value, and
`dataset.motions={[left,up],[right,down]}` are two, as braces around the whole list may be left out. Arms that are no
product stand in words of their own, to which the words of all are added.

An arm is a label, words and seeds, and no more: what gives arms another budget or another learning rate is a function
from an arm to arms.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stbench.errors import StbenchError, brief
from stbench.settings.resolve import resolve_settings
from stbench.settings.schema import Settings
from stbench.settings.values import parse_value

_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Arm:
    """What runs that differ in their seed alone have in common.

    Attributes:
        label: what tells it from the other arms.
        words: "key=value" each, as `stbench run` takes them; none of them is the seed.
        seeds: of its runs.
    """

    label: str
    words: tuple[str, ...]
    seeds: tuple[int, ...] = (Settings().seed,)

    @property
    def values(self) -> dict[str, str]:
        """The texts of its settings by their keys."""
        return dict(_split_word(word) for word in self.words)

    def with_words(self, *words: str) -> Arm:
        """The same arm with these words in the place of those of the same keys."""
        return replace(self, words=_words({**self.values, **dict(map(_split_word, words))}))

    def without(self, key: str) -> Arm:
        """The same arm without its word of this key."""
        return replace(self, words=_words({name: text for name, text in self.values.items() if name != key}))


def read_arms(words: Sequence[str], own: Sequence[str] = ()) -> list[Arm]:
    """Read the arms of a sweep; what is given twice is one.

    Args:
        words: of all arms; values may be lists.
        own: for each `--arm` its words, in one text as in a shell; values may be lists here as well.

    Raises:
        StbenchError: a word that is none, an empty list, or a key that is given twice.
    """
    shared = _lists(words)
    found: list[Arm] = []
    for text in own or [""]:
        try:
            lists = _lists(_shell_words(text), shared)
        except StbenchError as error:
            raise StbenchError(f"--arm {brief(text)!r}: {error}" if own else str(error)) from error
        seeds = tuple(dict.fromkeys(map(_seed, lists.pop("seed", [str(Settings().seed)]))))
        products = itertools.product(*lists.values())
        found += [Arm("", _words(dict(zip(lists, values, strict=True))), seeds) for values in products]
    return with_labels(_merged(found))


def with_labels(arms: Sequence[Arm]) -> list[Arm]:
    """The same arms, labelled by their variants and by what else differs between them."""
    settings = [arm.values for arm in arms]
    variants = {values.get("variant", "") for values in settings}
    keys = dict.fromkeys(key for values in settings for key in values if key != "variant")
    differing = [key for key in keys if len({values.get(key) for values in settings}) > 1]
    labels = [
        " ".join([_name(values, variants), *_words({key: values[key] for key in differing if key in values})])
        for values in settings
    ]
    return [replace(arm, label=label) for arm, label in zip(arms, labels, strict=True)]


def listed_values(text: str) -> list[str]:
    """The values of a list such as `a,b`, `{a,b}` or `{[a,b],[c,d]}`; a text without such commas is one value.

    Raises:
        StbenchError: an empty list, nothing between two commas, or a bracket or a quote that is not closed.
    """
    text = text.strip()
    if text.startswith("{") and text.endswith("}") and len(_split_at_commas(text)) == 1:
        text = text[1:-1]
    values = [value.strip() for value in _split_at_commas(text)]
    if not all(values):
        raise StbenchError("nothing stands between two commas" if len(values) > 1 else "the list is empty")
    return values


def _split_at_commas(text: str) -> list[str]:
    """Split at the commas outside brackets, braces and quotes, which may begin where a value does."""
    parts, closing, quote = [""], "", ""
    for character in text:
        begun = parts[-1].rstrip()
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (not begun or begun[-1] in "[{,:"):
            quote = character
        elif character in _CLOSING:
            closing = _CLOSING[character] + closing
        elif closing and character == closing[0]:
            closing = closing[1:]
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    if open_end := quote or closing[:1]:
        raise StbenchError(f"expected {open_end} at the end of it (braces and quotes need quotes in a shell)")
    return parts


def _lists(words: Sequence[str], shared: Mapping[str, list[str]] | None = None) -> dict[str, list[str]]:
    """The values of each key, those that all arms share after an arm's own."""
    lists: dict[str, list[str]] = {}
    for word in words:
        key, text = _split_word(word)
        if key in lists:
            raise StbenchError(f"{key} is given twice: expected {key}=a,b (a shell takes {{a,b}} apart: quote it)")
        if shared and key in shared:
            raise StbenchError(f"{key} is given for all arms as well: expected it for each arm or for all")
        try:
            lists[key] = listed_values(text)
        except StbenchError as error:
            raise StbenchError(f"{brief(word)}: {error}") from error
    return {**lists, **(shared or {})}


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:  # a quote that is not closed
        raise StbenchError(str(error)) from error


def _split_word(word: str) -> tuple[str, str]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise StbenchError(f"expected key=value, got {brief(word)!r}")
    return key, text


def _words(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in values.items())


def _seed(text: str) -> int:
    return resolve_settings({"seed": parse_value(text)}).seed


def _name(values: Mapping[str, str], variants: Iterable[str]) -> str:
    """The name of an arm's variant, with its path where another one of these has that name."""
    own = values.get("variant", "no variant")
    return own if [Path(each).stem for each in variants].count(Path(own).stem) > 1 else Path(own).stem


def _merged(arms: Iterable[Arm]) -> list[Arm]:
    """Arms of equal settings as one, with the seeds of all of them."""
    found: dict[frozenset[str], Arm] = {}
    for arm in arms:
        key = frozenset(arm.words)
        first = found.get(key, arm)
        found[key] = replace(first, seeds=tuple(dict.fromkeys((*first.seeds, *arm.seeds))))
    return list(found.values())
