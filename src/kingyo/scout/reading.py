"""Open candidates one at a time, by their headers alone, and compare them with the base.

Of a candidate only what the table shows is kept: a model is closed before the next one is opened, except for
the base, or without one the first model of each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.locate import add_lora
from kingyo.errors import KingyoError
from kingyo.lineage.origins import read_front_matter
from kingyo.models.kinds import kinds_in_order
from kingyo.scout.candidate import Candidate, CardFacts, Exclusion, Reason, architecture_of, read_facts
from kingyo.scout.on_hub import patiently, without_bars
from kingyo.scout.place import Place, broken
from kingyo.scout.verdict import Judge, Rules, in_words

_MOST_GROUPS = 8
"""Groups of one architecture that are told apart without a base."""


class Reading:
    """Read candidates one by one.

    Args:
        rules: what the user allows.
        base: the base, if there is one.
        own_name: the name that the base has among the candidates.

    Attributes:
        groups: candidates that can be merged, by the model that they were compared with.
        excluded: the others.
    """

    def __init__(self, rules: Rules, base: Checkpoint | None, own_name: str | None) -> None:
        self._rules = rules
        self._judge = Judge(rules)
        self._kinds = kinds_in_order()
        self._base = base
        self._own_name = own_name
        self._first: list[Checkpoint] = [] if base is None else [base]
        self.groups: dict[str, list[Candidate]] = {}
        self.excluded: list[Candidate] = []

    def read(self, place: Place, adapters: Sequence[Place]) -> None:
        """Read a model and its LoRAs."""
        if place.error is not None:
            model = self._exclude(place, "unreadable", in_words(place.error))
        elif place.only_pickles and not (self._rules.allow_pickle and place.is_local):
            where = "pass --allow-pickle" if place.is_local else "download them, then pass --allow-pickle"
            model = self._exclude(place, "only pickles", where)
        elif self._base is not None and place.name in (self._base.reference, self._own_name):
            model = self._base
            candidate = self._describe(place, model)
            self.excluded.append(replace(candidate, exclusion=Exclusion(reason="the base itself")))
        else:
            model = self._attempt(place, lambda: open_model(place.name, self._rules, self._first))
        self._read_loras(adapters, model, f"{place.name} cannot be read")

    def read_orphans(self, on: str | None, adapters: Sequence[Place]) -> None:
        """Read LoRAs whose model is not among the candidates: it may be the base, or written before a '+'."""
        model, problem = None, "it names no base; pass --base M" if on is None else f"{on} is not here"
        if self._base is not None and on == self._base.reference:
            model = self._base
        elif on is not None and any(adapter.on for adapter in adapters):
            try:
                model = open_model(on, self._rules)
            except KingyoError as error:
                problem = in_words(error)
        self._read_loras(adapters, model, problem)

    def _read_loras(self, adapters: Sequence[Place], model: Checkpoint | None, problem: str) -> None:
        for place in adapters:
            if model is None:
                self._exclude(place, "a LoRA of a base that is not there", problem)
            elif place.only_pickles and not (self._rules.allow_pickle and place.is_local):
                self._exclude(place, "only pickles", "pass --allow-pickle")
            else:
                self._attempt(place, lambda place=place: self._with_lora(model, place))

    def _with_lora(self, model: Checkpoint, place: Place) -> Checkpoint:
        allow = self._rules.allow_pickle and place.is_local
        return _quietly(place, lambda: add_lora(model, place.name, fetch=False, allow_pickle=allow))

    def _attempt(self, place: Place, read: Callable[[], Checkpoint]) -> Checkpoint | None:
        """Open a candidate and compare it. Return it, or None if it cannot be read."""
        try:
            model = read()
            candidate = self._describe(place, model)
            self._compare(candidate, model)
        except Exception as error:  # noqa: BLE001 - a strange candidate must not end the scan
            return self._exclude(place, "unreadable", in_words(broken(place.name, error)))
        return model

    def _compare(self, candidate: Candidate, model: Checkpoint) -> None:
        """Add a candidate to the group of the base, or without one to the first group that it fits."""
        near = [each for each in self._first if self._base is not None or _is_of_one_kind(each, model)]
        judged = candidate
        for like in near:
            judged = self._judge.judge(candidate, model, like)
            if judged.exclusion is None:
                self.groups.setdefault(like.reference, []).append(judged)
                return
            if judged.exclusion.reason not in ("another architecture or size", "another vocabulary"):
                break
        else:
            if self._base is None and len(near) < _MOST_GROUPS:
                judged = self._judge.judge(candidate, model, model)
                if judged.exclusion is None:
                    self._first.append(model)
                    self.groups[model.reference] = [judged]
                    return
        self.excluded.append(judged)

    def _describe(self, place: Place, model: Checkpoint) -> Candidate:
        card = place.card
        if model.adapter is not None:
            below = CardFacts.read(read_front_matter(model.card_folder / "README.md"), None)
            card = replace(card, licences=(*below.licences, *card.licences))
        return Candidate(
            reference=model.reference,
            card=card,
            facts=read_facts(model, self._kinds),
            claimed_base=place.claimed_base,
            only_pickles=place.only_pickles,
        )

    def _exclude(self, place: Place, reason: Reason, detail: str) -> None:
        reference = place.name if place.on is None else f"{place.on}+{place.name}"
        self.excluded.append(
            Candidate(
                reference=reference,
                card=place.card,
                claimed_base=place.claimed_base,
                only_pickles=place.only_pickles,
                exclusion=Exclusion(reason=reason, detail=detail),
            )
        )


def open_model(name: str, rules: Rules, among: Iterable[Checkpoint] = ()) -> Checkpoint:
    """Open a model by its headers alone. Pickles on the Hub have none, and stay there."""
    place = Place(name=name)
    allow = rules.allow_pickle and place.is_local
    return _quietly(place, lambda: open_checkpoint(name, fetch=False, allow_pickle=allow, among=among))


def _quietly(place: Place, read: Callable[[], Checkpoint]) -> Checkpoint:
    """Open a model; from the Hub, without progress bars and as often as its rate limit asks for."""
    if place.is_local:
        return read()
    with without_bars():
        return patiently(read)


def _is_of_one_kind(one: Checkpoint, other: Checkpoint) -> bool:
    return architecture_of(one.config) == architecture_of(other.config)
