"""Language detection: short texts, digits and mixtures."""

import pytest

from kingyo.errors import KingyoError
from kingyo.tasks.graders import language
from kingyo.tasks.graders.language import Language, is_written_in
from kingyo.testing.tasks import GraderContract


class TestJapaneseGrader(GraderContract):
    right = (
        ("リンゴ", ""),
        ("ﾘﾝｺﾞが3個", ""),
        ("AさんはBさんより3cm高いです。", ""),
        ("xは3cm、yは5kgです。", ""),
        ("Tomはりんごを三個とみかんを五個買いました。", ""),
    )
    wrong = (
        ("", ""),
        ("12-3=9。9+8=17。", ""),
        ("答えは seventeen apples です", ""),
        ("The answer is 17. 答えは17個です。", ""),
        ("十七個", ""),
        ("👍", ""),
    )

    def make(self) -> Language:
        return Language(code="ja")


@pytest.mark.parametrize(
    "text",
    [
        "ああああ",
        "ー",
        "ーーーー",
        "wwww",
        "あーーーー",
        "そのそのその",
        "6。 inははははははははははは",
        "東京ー",
        "答えは17ああああああああああああ",
        "答案是十七个苹果的の",
        "はいはいはいはい",
        "東京",
        "42",
    ],
)
def test_repeated_kana_and_long_vowels_are_not_japanese(text: str) -> None:
    assert not is_written_in(text, "ja")


TEXTS = [
    ("ja", "12-3=9。答えは17個です。"),
    ("zh", "答案是十七个苹果"),
    ("ko", "정답은 17개입니다"),
    ("th", "คำตอบคือ 17"),
    ("el", "Η απάντηση είναι 17"),
    ("he", "התשובה היא 17"),
    ("en", "12-3=9. 9+8=17. The answer is 17."),
    ("en", "Tom has 5 books left."),
    ("de", "Die Antwort ist 17."),
    ("de", "Zuerst ziehen wir 3 von 12 ab. Das ergibt 9."),
    ("fr", "La réponse est 17."),
    ("es", "La respuesta es 17."),
    ("ru", "Ответ: 17 яблок."),
]


@pytest.mark.parametrize(("code", "text"), TEXTS)
def test_a_text_is_written_in_its_own_language_only(code: str, text: str) -> None:
    assert {other for other, _ in TEXTS if is_written_in(text, other)} == {code}


@pytest.mark.parametrize("text", ["", "17", "12-3=9。答えは17個です。", "hahahahaha", "no no no no"])
def test_no_text_and_a_few_repeated_letters_are_not_english(text: str) -> None:
    assert not is_written_in(text, "en")


def test_half_and_half_is_neither() -> None:
    text = "The answer is 17 apples. Die Antwort ist 17 Äpfel."
    assert not is_written_in(text, "en")
    assert not is_written_in(text, "de")


def test_without_lingua_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    language._detector.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "lingua", None)
    with pytest.raises(KingyoError, match=r"pip install .*\[language\]"):
        is_written_in("Die Antwort ist 17.", "de")
    assert is_written_in("答えは17個です。", "ja")
    language._detector.cache_clear()


def test_an_unknown_code_suggests() -> None:
    with pytest.raises(KingyoError, match="Did you mean 'en'"):
        is_written_in("text", "EN")
