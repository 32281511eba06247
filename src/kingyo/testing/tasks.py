"""Contract tests for tasks and graders: subclass them in pytest and implement ``make``.

    class TestMine(TaskContract):
        def make(self, splits):
            return MyTask(splits)

    class TestMyGrader(GraderContract):
        right = [("the answer is 3", "3")]
        wrong = [("the answer is 4", "3"), ("", "3")]

        def make(self):
            return my_grader

``ScriptedModel`` replaces a live model.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from kingyo.core.types import SPLITS, Item, ItemScore, Split, Task
from kingyo.errors import KingyoError
from kingyo.tasks.graders.grader import Grader
from kingyo.testing import raises


class ScriptedModel:
    """A language model with scripted answers that records all ``prompts`` passed to ``generate``."""

    def __init__(self, script: Mapping[str, str] | Callable[[str], str], default: str = "") -> None:
        self._script = script
        self._default = default
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return the scripted texts, cut before a stop string; a token is a character here."""
        self.prompts.extend(prompts)
        texts = [self._say(prompt)[:max_new_tokens] for prompt in prompts]
        for mark in stop:
            texts = [text.split(mark, 1)[0] for text in texts]
        return texts

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return −1 for the scripted text, and a lower number, fixed for each pair, for any other."""
        return [
            -1.0 if continuation.strip() == self._say(prompt).strip() else -2.0 - _noise(prompt, continuation)
            for prompt, continuation in pairs
        ]

    def chat_prompt(self, message: str) -> str:
        return f"<user>{message}<model>"

    def _say(self, prompt: str) -> str:
        if callable(self._script):
            return self._script(prompt)
        return self._script.get(prompt, self._default)


def _noise(*texts: str) -> float:
    digest = hashlib.sha256("\0".join(texts).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class TaskContract:
    """Contract of a task. Subclass it and implement ``make``; override items and model if needed."""

    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        raise NotImplementedError

    def make_items(self, split: Split) -> Sequence[Item]:
        """Return at least three items of a split that the task can score; none is in two splits."""
        return tuple(
            Item(
                id=f"{split}-{number}",
                prompt=f"{split}: which number is {number}?",
                answer=str(number),
                choices=("0", "1", "2"),
                fields={"split": split},
            )
            for number in range(3)
        )

    def make_model(self) -> object:
        """Return a model that is right on some items and wrong on others."""
        right = {item.prompt: item.answer for split in SPLITS for item in self.make_items(split)[:2]}
        return ScriptedModel(right, default="no idea")

    def test_it_has_a_name_and_a_model_that_meets_its_needs(self) -> None:
        """The name never changes; ``needs``, if any, is a protocol that the model implements."""
        task = self._task()
        assert task.name
        assert task.name == task.name == self._task().name
        needs = getattr(task, "needs", object)
        assert isinstance(needs, type)
        assert isinstance(self.make_model(), needs)

    def test_items_keep_their_order(self) -> None:
        task = self._task()
        for split in SPLITS:
            assert list(task.items(split)) == list(self.make_items(split)) == list(task.items(split))

    def test_an_unknown_split_is_an_error(self) -> None:
        assert raises(KingyoError, lambda: self._task().items("trial"))  # type: ignore[arg-type]

    def test_scores_come_in_the_order_of_the_items(self) -> None:
        items = self.make_items("fit")
        for given in (items, items[::-1]):
            assert [score.item for score in self._score(given)] == [item.id for item in given]

    def test_scores_are_shares(self) -> None:
        for score in self._score(self.make_items("validation")):
            assert isinstance(score.score, float) and 0 <= score.score <= 1
            assert isinstance(score.answer, str)

    def test_scoring_is_deterministic(self) -> None:
        items = self.make_items("test")
        task, model = self._task(), self.make_model()
        assert list(task.score(model, items)) == list(task.score(model, items)) == self._score(items)

    def test_an_item_is_scored_alone(self) -> None:
        """The score of an item does not depend on the other items, so races may score parts, even none."""
        items = self.make_items("fit")
        assert self._score([]) == []
        alone = [score for item in items for score in self._score([item])]
        assert alone == self._score(items)

    def _task(self) -> Task:
        return self.make({split: self.make_items(split) for split in SPLITS})

    def _score(self, items: Sequence[Item]) -> list[ItemScore]:
        return list(self._task().score(self.make_model(), items))


class GraderContract:
    """Contract of a grader. Subclass it, implement ``make`` and give examples.

    They are pairs of a model's text and an item's answer; ``right`` ones score 1, ``wrong`` ones 0.
    """

    right: Sequence[tuple[str, str]] = ()
    wrong: Sequence[tuple[str, str]] = ()

    def make(self) -> Grader:
        raise NotImplementedError

    def make_item(self, answer: str) -> Item:
        return Item(id="item", prompt="prompt", answer=answer)

    def test_right_texts_score_one_and_wrong_ones_zero(self) -> None:
        for expected, examples in ((1, self.right), (0, self.wrong)):
            for text, answer in examples:
                assert self.make()(text, self.make_item(answer)) == expected, (text, answer)

    def test_any_text_can_be_graded(self) -> None:
        grader = self.make()
        for text in _ANY_TEXT:
            for _, answer in [*self.right, *self.wrong]:
                item = self.make_item(answer)
                score = grader(text, item)
                assert 0 <= score <= 1, text
                assert score == grader(text, item), text


_ANY_TEXT = (
    "",
    " \n\t\r\n",
    "。",
    "\0\ufffd\ud800",
    "9" * 5000,
    "1e999999999",
    "-,.;/" * 50,
    "(((((" * 50,
    "١٢٣ ½ ² ①",
    "👨‍👩‍👧 ﷽",
    "\N{RIGHT-TO-LEFT OVERRIDE}321",
)
