"""Claims: statements about backbones in a form that a program checks, registered before anything runs.

A file of claims is YAML: arms (words of a run under a label), scales (what all arms share, and how many seeds), and
claims, each a relation between arms. docs/claims.md is its reference. What a file says is known by its `sha256`, which
stands beside every verdict: comments and layout are free, everything else is another registration.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from stbench import paths
from stbench.errors import StbenchError, brief, unknown_name
from stbench.records.budgets import Budget
from stbench.records.measures import MEASURES, VALIDATION_LOSS, get_measure
from stbench.yaml_files import read_mapping

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

Relation = Literal["better", "worse", "order", "equivalent", "different", "overtaken", "equals", "inflates", "shapes"]
# What each asks of the arms, in their order.
RELATIONS: dict[Relation, str] = {
    "better": "the first is better than each of the others",
    "worse": "the first is worse than each of the others",
    "order": "each is better than the next",
    "equivalent": "any two differ by less than the margin",
    "different": "the first differs from each of the others, one way or the other",
    "overtaken": "the first is better than each of the others at the first point of `at`, and worse at the last",
    "equals": "a count is what `values` say, within the margin; with `relative_to` as a multiple of that arm's",
    "inflates": "with the weights of the second, and its own others as initialised, the first does to a clip what the "
    "second does to each frame",
    "shapes": "the blocks of the network have the channels and sizes of `shapes`",
}
BUILT: tuple[Relation, ...] = ("inflates", "shapes")  # decided by what a network does as it is initialised
SHAPE = re.compile(r"\d+->\d+ \d+x\d+")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # keys, in the words of pydantic
STRICT: dict[str, Any] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class DeclaredArm:
    """One side of a comparison."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    words: str = ""  # key=value, as of `stbench run`
    at: dict[str, str] = field(default_factory=dict)  # more words by scale; where given, other scales have no such arm
    starts_from: str | None = None  # the arm whose run of the same seed training starts from
    first_seed: int = 0

    def words_at(self, scale: str) -> str | None:
        """Its words at a scale, or None where it is no arm of that scale."""
        if not self.at:
            return self.words
        return f"{self.words} {self.at[scale]}".strip() if scale in self.at else None


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Other learning rates at which some arms are trained as well: does the order hold there?"""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    factors: tuple[float, ...]  # times the scale's
    seeds: int
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a check is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    about: str  # what its verdicts are verdicts of
    datasets: tuple[str, ...] = ()  # names or YAML files, with verdicts on each
    words: str = ""  # what all arms share, key=value; an arm's own come above
    seeds: int = 0  # runs of each arm; 0: nothing is trained, and only counts and identities are decided
    other_rates: Rates | None = None
    leave_out: tuple[str, ...] = ()  # arms that are not trained at this scale


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement, and what would have to be true of the arms' figures."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: str
    statement: str
    source: tuple[str, ...] = ()  # keys of the file's `sources`
    factor: str = ""  # what is varied; claims of one factor stand together
    arms: tuple[str, ...]
    relation: Relation
    measures: tuple[str, ...] = (VALIDATION_LOSS,)  # the first decides, the others stand beside it
    budgets: tuple[Budget, ...] = ("steps",)  # a verdict for each
    at: tuple[float, ...] = (1.0,)  # where on the way: shares of the budget
    margin: float = 0.05  # relative difference up to which two figures are equivalent; of counts, equal
    values: dict[str, float] = field(default_factory=dict)  # of "equals", by arm
    relative_to: str | None = None  # of "equals": the arm whose count is 1
    shapes: dict[str, str] = field(default_factory=dict)  # of "shapes", "C->C' HxW" by block
    control: Literal["positive", "negative"] | None = None  # what the scale itself is judged by
    across_protocols: bool = False  # each arm is judged on clips of its own, whatever that is worth
    not_yet: str | None = None  # what has to be there before it can be checked

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Its arms, and the one that counts are relative to."""
        return (*self.arms, self.relative_to) if self.relative_to else self.arms

    @property
    def counted(self) -> bool:
        """Whether it is about counts, which networks have without being trained."""
        return self.relation not in BUILT and all(get_measure(name).kind == "exact" for name in self.measures)

    @property
    def stated_size(self) -> tuple[int, int]:
        """H and W of the latents that `shapes` are stated for: the largest that stand there."""
        sizes = [tuple(map(int, shape.partition(" ")[2].split("x"))) for shape in self.shapes.values()]
        height, width = max(sizes)
        return height, width

    @property
    def needs_training(self) -> bool:
        """Whether its arms have to be trained."""
        return not (self.not_yet or self.counted or self.relation in BUILT)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """A file of claims."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    title: str
    sources: dict[str, str] = field(default_factory=dict)
    arms: dict[str, DeclaredArm]
    scales: dict[str, Scale]
    claims: tuple[Claim, ...]
    name: str = ""  # of the file, without its ending
    sha256: str = ""  # of what it says

    def trained_arms(self, scale: str) -> tuple[str, ...]:
        """The arms that are trained at a scale, those that others start from first."""
        wanted = {label for claim in self.claims if claim.needs_training for label in claim.arms}
        found: dict[str, None] = {}
        for label in (label for label in self.arms if label in wanted and self.has(label, scale)):
            found |= dict.fromkeys(reversed(self._chain(label)))
        return tuple(found) if self.scales[scale].seeds else ()

    def has(self, arm: str, scale: str) -> bool:
        """Whether an arm, and what it starts from, are trained at a scale."""
        left_out = self.scales[scale].leave_out
        return all(self.arms[each].words_at(scale) is not None and each not in left_out for each in self._chain(arm))

    def seeds_of(self, arm: str, scale: str) -> tuple[int, ...]:
        """The training seeds of an arm at a scale."""
        first = self.arms[arm].first_seed
        return tuple(range(first, first + self.scales[scale].seeds))

    def _chain(self, arm: str) -> list[str]:
        """An arm, the arm that it starts from, and so on."""
        chain = [arm]
        while (before := self.arms[chain[-1]].starts_from) is not None:
            if before in chain:
                raise StbenchError(f"arms.{arm}: starts from itself, by way of {' and '.join(chain)}")
            chain.append(before)
        return chain


def load_claims(name_or_path: str) -> Claims:
    """Read a file of claims.

    Args:
        name_or_path: the name of a file in the folders of claims (`stbench list claims`), or a path ending in .yaml.

    Raises:
        StbenchError: there is no such file, or something in it is unknown, missing or wrong, with the nearest right.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        known = paths.config_files("claims")
        if name_or_path not in known:
            raise unknown_name("claims", name_or_path, known)
        path = known[name_or_path]
    content = read_mapping(path)
    try:
        return replace(parse_claims(content), name=path.stem)
    except StbenchError as error:
        raise StbenchError(f"{path}: {error}") from error


def parse_claims(content: dict[str, Any]) -> Claims:
    """Check what a file of claims says.

    Raises:
        StbenchError: as of `load_claims`.
    """
    from pydantic import ValidationError

    try:
        claims = _adapter().validate_json(json.dumps(_written_out(content), default=str))
    except ValidationError as error:
        unknown = [each for each in error.errors() if each["type"] in UNKNOWN]  # the cause of a key that is missing
        raise _complaint(content, [*unknown, *error.errors()][0]) from None
    _check_names(claims)
    for claim in claims.claims:
        _check_meaning(claim)
    return replace(claims, sha256=_sha256(content))


def _sha256(content: dict[str, Any]) -> str:
    """Of what is claimed, which does not change when a claim can be checked at last."""
    claimed = [{key: claim[key] for key in claim if key != "not_yet"} for claim in content["claims"]]
    return hashlib.sha256(json.dumps({**content, "claims": claimed}, sort_keys=True, default=str).encode()).hexdigest()


def split_words(where: str, words: str | Sequence[str]) -> dict[str, str]:
    """Words of a run by their keys; in one text they stand as in a shell.

    Raises:
        StbenchError: for a word that is no key=value.
    """
    found = {}
    for word in shlex.split(words) if isinstance(words, str) else words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise StbenchError(f"{where}: {brief(word)}: expected key=value")
        found[key] = value
    return found


@functools.cache
def _adapter() -> TypeAdapter[Claims]:
    from pydantic import TypeAdapter

    return TypeAdapter(Claims)


def _written_out(content: dict[str, Any]) -> dict[str, Any]:
    """The same with every arm as a mapping: one may be written as its words alone."""
    arms = content.get("arms")
    if not isinstance(arms, dict):
        return content
    return {**content, "arms": {label: {"words": arm} if isinstance(arm, str) else arm for label, arm in arms.items()}}


def _complaint(content: dict[str, Any], error: ErrorDetails) -> StbenchError:
    """The first thing that is wrong: where, and what was expected."""
    *parts, last = error["loc"]
    where = _place(content, parts)
    if error["type"] in UNKNOWN:
        kind = {
            0: Claims,
            2: {"arms": DeclaredArm, "scales": Scale, "claims": Claim}.get(str(parts[0] if parts else "")),
        }
        known = [each.name for each in dataclasses.fields(kind.get(len(parts)) or Rates)]
        return unknown_name("key", f"{where}.{last}".lstrip("."), [f"{where}.{name}".lstrip(".") for name in known])
    place = f"{where}.{last}".lstrip(".")
    if error["type"].startswith("missing"):
        return StbenchError(f"{place}: missing")
    expected = error["msg"].replace("Input should be", "expected")
    return StbenchError(f"{place}: {expected}, got {brief(error['input'])}")


def _place(content: dict[str, Any], parts: list[int | str]) -> str:
    """Where something stands, a claim by its id."""
    names = list(map(str, parts))
    if parts[:1] == ["claims"] and len(parts) > 1:
        claim = content["claims"][parts[1]]
        names[1] = str(claim["id"]) if isinstance(claim, dict) and "id" in claim else names[1]
    return ".".join(names)


def _check_names(claims: Claims) -> None:
    """Refuse a name of an arm, a source or a scale that the file does not declare, and an id that stands twice."""
    ids = [claim.id for claim in claims.claims]
    for claim in claims.claims:
        where = f"claims.{claim.id}"
        if ids.count(claim.id) > 1:
            raise StbenchError(f"{where}: the id stands {ids.count(claim.id)} times")
        _check_known(f"arm in {where}", (*claim.named_arms, *claim.values), claims.arms)
        _check_known(f"source in {where}", claim.source, claims.sources)
        _check_known(f"measure in {where}", claim.measures, MEASURES)
    for label, arm in claims.arms.items():
        _check_known(f"scale in arms.{label}", arm.at, claims.scales)
        _check_known(f"arm in arms.{label}", [arm.starts_from] if arm.starts_from else [], claims.arms)
        for name in claims.scales:
            split_words(f"arms.{label}", arm.words_at(name) or "")
    for name, scale in claims.scales.items():
        if {"variant", "dataset", "seed"} & split_words(f"scales.{name}.words", scale.words).keys():
            raise StbenchError(f"scales.{name}.words: variant= belongs to arms; datasets and seeds are keys of a scale")
        if scale.seeds < 0 or (scale.seeds and not scale.datasets):
            raise StbenchError(f"scales.{name}: expected seeds and datasets to train on, or seeds: 0 to train nothing")
        named = (*scale.leave_out, *(scale.other_rates.arms if scale.other_rates else ()))
        _check_known(f"arm in scales.{name}", named, claims.arms)
        claims.trained_arms(name)


def _check_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)


def _check_meaning(claim: Claim) -> None:
    """Refuse a claim that nothing could decide."""
    where, relation = f"claims.{claim.id}", claim.relation
    if not claim.measures or not claim.budgets or not claim.at:
        raise StbenchError(f"{where}: measures, budgets and at need one entry or more each")
    if not all(0 < share <= 1 for share in claim.at) or list(claim.at) != sorted(set(claim.at)):
        raise StbenchError(f"{where}.at: expected rising shares of the training, more than 0 and at most 1")
    if claim.margin <= 0:
        raise StbenchError(f"{where}.margin: expected more than 0: no measurement shows that two figures are equal")
    least = 1 if relation in ("equals", "shapes") or claim.not_yet else 2
    if len(claim.arms) < least or len(set(claim.arms)) < len(claim.arms):
        raise StbenchError(f"{where}.arms: {relation} needs {least} different arms or more")
    if relation == "overtaken" and len(claim.at) < 2:
        raise StbenchError(f"{where}.at: overtaken needs an early and a late point, e.g. [0.25, 1]")
    if (relation == "equals") != bool(claim.values) or (claim.values and set(claim.values) != set(claim.arms)):
        raise StbenchError(
            f"{where}.values: equals needs a value for each of its arms, and no other relation takes any"
        )
    if (relation == "shapes") != bool(claim.shapes) or (claim.shapes and len(claim.arms) != 1):
        raise StbenchError(f"{where}.shapes: shapes needs one arm and the shapes of its blocks, no other relation any")
    for block, shape in claim.shapes.items():
        if not SHAPE.fullmatch(shape):
            raise StbenchError(f"{where}.shapes.{block}: {brief(shape)}: expected C->C' HxW, e.g. 320->640 20x32")
    exact = [name for name in claim.measures if get_measure(name).kind == "exact"]
    if exact and len(claim.measures) > 1:
        raise StbenchError(f"{where}.measures: {exact[0]} is a count, which needs no training: expected it by itself")
    if relation == "equals" and not exact:
        counts = ", ".join(name for name, each in MEASURES.items() if each.kind == "exact")
        raise StbenchError(f"{where}.measures: equals is for counts: expected one of {counts}")
    if relation == "overtaken" and exact:
        raise StbenchError(f"{where}.measures: {exact[0]} does not change on the way, so nothing is overtaken")


assert set(RELATIONS) == set(get_args(Relation))
