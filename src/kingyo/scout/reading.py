"""Open candidates one at a time, by their headers alone, and compare them with the bases.

Of a candidate only what the table shows is kept: a model is closed before the next one is opened, except for
the bases and the first model of each family without a base.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint
from kingyo.merging.checkpoints.locate import add_lora
from kingyo.merging.lineage import kind_of, read_front_matter
from kingyo.merging.vocabulary import Diagnostic, compare, forget_tokenizers, stored_files
from kingyo.models.kinds import kinds_in_order
from kingyo.scout.candidate import (
    Candidate,
    CardFacts,
    Exclusion,
    Reason,
    architecture_of,
    in_words,
    read_facts,
)
from kingyo.scout.on_hub import FOLDER_OR_MODEL, patiently, without_bars
from kingyo.scout.places import Place, broken

_MOST_OTHERS = 8
"""Models of its architecture that a candidate is compared with, besides the base that it names."""
_MISFITS = ("another architecture or size", "another vocabulary")
"""Reasons not to merge it with one model that do not hold for others."""
_ALONE = Exclusion(
    reason="fits no other model", detail="it names no base that can be read; pass --base M to choose one"
)
_CANDIDATE = "this model"
"""The candidate in findings, which are the same for all models with its tokenizer."""


class Reading:
    """Read candidates one by one.

    Attributes:
        groups: candidates that can be merged, by their base.
        families: candidates without a base that fit one another, by the first of them.
        misfits: why the first model of a family is excluded if it stays alone.
        excluded: the other candidates.
    """

    def __init__(self, bases: Mapping[str, Checkpoint], *, allow_pickle: bool) -> None:
        self._allow_pickle = allow_pickle
        self._findings: dict[tuple[str, bytes], tuple[Diagnostic, ...]] = {}
        self._kinds = kinds_in_order()
        self._bases = bases
        self._first: dict[str, Checkpoint] = {}
        self.groups: dict[str, list[Candidate]] = {base: [] for base in bases}
        self.families: dict[str, list[Candidate]] = {}
        self.misfits: dict[str, Exclusion] = {}
        self.excluded: list[Candidate] = []

    def read(self, place: Place, base: str | None, adapters: Sequence[Place]) -> None:
        """Read a model, which is compared first with ``base``, and its LoRAs."""
        if place.error is not None:
            is_short = place.error.expected == FOLDER_OR_MODEL  # the row begins with its name
            detail = place.error.received if is_short else in_words(place.error)
            model = self._exclude(place, "unreadable", detail)
        elif self._is_pickled(place):
            where = "pass --allow-pickle" if place.is_local else "download them, then pass --allow-pickle"
            model = self._exclude(place, "only pickles", where)
        else:
            model = self._attempt(place, base, lambda: self._open(place.name))
        own = place.name if place.name in self._bases else base
        self._read_loras(adapters, own, model, f"{place.name} cannot be read")

    def read_orphans(self, on: str | None, base: str | None, adapters: Sequence[Place]) -> None:
        """Read LoRAs whose model is not among the candidates: it may be a base, or written before a '+'."""
        model, problem = None, "it names no base; pass --base M" if on is None else f"{on} is no model here"
        if on is not None and (on in self._bases or any(adapter.on for adapter in adapters)):
            try:
                model = self._open(on)
            except Exception as error:  # noqa: BLE001
                problem = in_words(broken(on, error))
        self._read_loras(adapters, base, model, problem)

    def _open(self, name: str) -> Checkpoint:
        opened = [*self._bases.values(), *self._first.values()]
        return self._bases.get(name) or open_model(name, opened, allow_pickle=self._allow_pickle)

    def _is_pickled(self, place: Place) -> bool:
        return place.only_pickles and not (self._allow_pickle and place.is_local)

    def _read_loras(
        self, adapters: Sequence[Place], base: str | None, model: Checkpoint | None, problem: str
    ) -> None:
        for place in adapters:
            if model is None:
                self._exclude(place, "a LoRA whose base was not found", problem)
            elif self._is_pickled(place):
                self._exclude(place, "only pickles", "pass --allow-pickle")
            else:
                allow = self._allow_pickle and place.is_local
                add = partial(add_lora, model, place.name, fetch=False, allow_pickle=allow)
                self._attempt(place, base, partial(_quietly, place, add))

    def _attempt(self, place: Place, base: str | None, read: Callable[[], Checkpoint]) -> Checkpoint | None:
        try:
            model = read()
            card = place.card
            if model.adapter is not None:
                below = CardFacts.read(read_front_matter(model.card_folder / "README.md"))
                card = replace(card, licences=(*below.licences, *card.licences))
            candidate = Candidate(
                reference=model.reference,
                card=card,
                facts=read_facts(model, self._kinds),
                claimed_base=place.claimed_base,
            )
            self._compare(candidate, model, base)
        except Exception as error:  # noqa: BLE001 - a strange candidate must not end the scan
            return self._exclude(place, "unreadable", in_words(broken(place.name, error)))
        return model

    def _compare(self, candidate: Candidate, model: Checkpoint, base: str | None) -> None:
        """Add a candidate to the group of its base, else to the first group that it fits."""
        name, is_base = model.reference, model.reference in self._bases
        own = None if base is None or base == name else self._bases.get(base)
        near = {} if base is None or own is None else {base: own}
        is_orphan = not near and not is_base
        if not is_base:
            near |= _near(self._bases, model) | (_near(self._first, model) if is_orphan else {})
        found: Exclusion | None = None
        for like, other in near.items():
            judged = self._judge(candidate, model, other)
            if judged.exclusion is None:
                (self.groups if like in self.groups else self.families)[like].append(judged)
                return
            if judged.exclusion.reason not in _MISFITS:
                found, is_orphan = judged.exclusion, False
                break
            if like in self._bases:
                found = found or judged.exclusion
        if is_base:
            found = Exclusion(reason="the base itself")
        elif is_orphan and len(_near(self._first, model)) < _MOST_OTHERS:
            candidate = self._judge(candidate, model, model)
            if candidate.exclusion is None:
                self._first[name], self.families[name] = model, [candidate]
                self.misfits[name] = found or _ALONE
                return
            found = found or candidate.exclusion
        self.excluded.append(replace(candidate, exclusion=found or _ALONE))

    def _exclude(self, place: Place, reason: Reason, detail: str) -> None:
        reference = place.name if place.on is None else f"{place.on}+{place.name}"
        candidate = Candidate(
            reference=reference,
            card=place.card,
            claimed_base=place.claimed_base,
            exclusion=Exclusion(reason=reason, detail=detail),
        )
        self.excluded.append(candidate)

    def _judge(self, candidate: Candidate, model: Checkpoint, like: Checkpoint) -> Candidate:
        """Return the candidate with what keeps it from a merge with ``like``, or with notes."""

        def out(reason: Reason, detail: str = "") -> Candidate:
            return replace(candidate, exclusion=Exclusion(reason=reason, detail=detail))

        if candidate.facts.runs_code:
            return out("remote code", "its config names Python files")
        try:
            fitted = fit(like, [model])
        except KingyoError as error:
            return out(_misfit(model, like), in_words(error))
        if candidate.facts.lacks_tokenizer:
            return out("no tokenizer")
        findings = self._compare_tokenizers(model, like)
        for each in findings:
            if each.level == "error":
                return out("another vocabulary", each.short or in_words(each.error))
        if any(kind_of(each) == "no derivatives" for each in candidate.card.licences):
            return out("a licence that forbids derivatives", candidate.licence or "")
        more = [in_words(each.error) for each in findings if each.level == "warning"]
        return replace(candidate, notes=(*fitted.warnings, *more))

    def _compare_tokenizers(self, model: Checkpoint, like: Checkpoint) -> tuple[Diagnostic, ...]:
        """Compare tokenizers, those with equal files only once."""
        digest = sha256()
        for name, content in stored_files(model.path).items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        key = like.reference, digest.digest()
        if key not in self._findings:
            self._findings[key] = compare({like.reference: like.path, _CANDIDATE: model.path})
            forget_tokenizers()
        return self._findings[key]


def _misfit(model: Checkpoint, like: Checkpoint) -> Reason:
    """Return why a model does not fit: its vocabulary, if a longer one would fit."""
    try:
        fit(like, [model], resize="pad-vocab")
    except KingyoError:
        return "another architecture or size"
    return "another vocabulary"


def open_model(name: str, among: Iterable[Checkpoint] = (), *, allow_pickle: bool) -> Checkpoint:
    """Open a model by its headers alone. Pickles on the Hub have none, and stay there."""
    place = Place(name=name)
    allow = allow_pickle and place.is_local
    return _quietly(place, lambda: open_checkpoint(name, fetch=False, allow_pickle=allow, among=among))


def _quietly(place: Place, read: Callable[[], Checkpoint]) -> Checkpoint:
    """Open a model; from the Hub, without progress bars and as often as its rate limit asks for."""
    if place.is_local:
        return read()
    with without_bars():
        return patiently(read)


def _near(models: Mapping[str, Checkpoint], model: Checkpoint) -> dict[str, Checkpoint]:
    name = architecture_of(model.config)
    found = [each for each in models.items() if architecture_of(each[1].config) == name]
    return dict(found[:_MOST_OTHERS])
