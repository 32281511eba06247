"""One person's session: the pair on the screen, choices, undo and progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from kingyo.rating.models import RatedModel
from kingyo.rating.pairs import Pair, PairChooser
from kingyo.store.choices import ChoiceLog, StoredChoice, Verdict
from kingyo.types import Item, Media, Split

Side = Literal["left", "right"]


class UnknownPairError(LookupError):
    """A pair that this session has not shown."""


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """The settings of a rating session.

    Attributes:
        rater: name of the person.
        split: the split whose pictures are shown.
        pairs: number of pairs to judge, with those of earlier sessions.
        title: the run's name, for the page.
    """

    rater: str
    split: Split
    pairs: int
    title: str


@dataclass(kw_only=True)
class RatingSession:
    """Shows pairs and stores choices. Threads may call all methods.

    Attributes:
        settings: who rates what.
        models: the models to compare.
        items: id -> item, for prompts.
        log: where choices go.
    """

    settings: SessionSettings
    models: Sequence[RatedModel]
    items: Mapping[str, Item]
    log: ChoiceLog
    _shown: dict[str, Pair] = field(default_factory=dict[str, Pair], init=False)
    _restored: Pair | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def state(self) -> dict[str, object]:
        """Return the progress and the pair to judge as JSON data; no name of a model is in it."""
        with self._lock:
            return self._state()

    def choose(self, pair: str, verdict: Verdict, seconds: float) -> dict[str, object]:
        """Store a choice, and return the next state. A choice that is sent twice counts once.

        Raises:
            UnknownPairError: the pair was not shown.
        """
        with self._lock:
            shown = self._pair(pair)
            if self._key(shown) == pair:  # not one that was undone later
                self.log.add(self._choice(shown, verdict, seconds))
                self._restored = None
            return self._state()

    def undo(self) -> dict[str, object]:
        """Take back the person's last choice, and return the state with its pair."""
        with self._lock:
            choice = self.log.undo(self.settings.rater, self.settings.split)
            if choice is not None:
                self._restored = self._chooser.restore(choice)
            return self._state()

    def picture(self, pair: str, side: Side) -> Media:
        """Return a picture of a pair.

        Raises:
            UnknownPairError: the pair was not shown.
        """
        shown = self._pair(pair)
        return shown.left_picture if side == "left" else shown.right_picture

    def n_judged(self) -> int:
        """Return the number of pairs that the person has judged on this split."""
        with self._lock:
            return len(self._own(self.log.choices()))

    @property
    def _chooser(self) -> PairChooser:
        return PairChooser(models=self.models, rater=self.settings.rater)

    def _state(self) -> dict[str, object]:
        choices = [each for each in self.log.choices() if each.split == self.settings.split]
        own = self._own(choices)
        n = len(own)
        if self._restored is not None and self._restored.name in {each.pair for each in own}:
            self._restored = None  # judged in another session of the person
        pair = self._restored or (self._chooser.next(choices) if n < self.settings.pairs else None)
        return {
            "title": self.settings.title,
            "rater": self.settings.rater,
            "judged": n,
            "pairs": self.settings.pairs,
            "pair": None if pair is None else self._show(pair),
        }

    def _own(self, choices: Sequence[StoredChoice]) -> list[StoredChoice]:
        own = (self.settings.rater, self.settings.split)
        return [each for each in choices if (each.rater, each.split) == own]

    def _show(self, pair: Pair) -> dict[str, object]:
        key = self._key(pair)
        self._shown[key] = pair
        item = self.items[pair.item]
        return {"id": key, "prompt": item.prompt}

    def _key(self, pair: Pair) -> str:
        """Return a name for the page, new after each undo, so that a late repeat of a choice is ignored."""
        return f"{pair.name}-{self.log.undone(self.settings.rater, pair.name)}"

    def _pair(self, key: str) -> Pair:
        if key not in self._shown:
            raise UnknownPairError(key)
        return self._shown[key]

    def _choice(self, pair: Pair, verdict: Verdict, seconds: float) -> StoredChoice:
        return StoredChoice(
            rater=self.settings.rater,
            split=self.settings.split,
            item=pair.item,
            left_model=pair.left.recipe,
            right_model=pair.right.recipe,
            left_picture=pair.left_picture.sha256,
            right_picture=pair.right_picture.sha256,
            verdict=verdict,
            seconds=seconds,
        )
