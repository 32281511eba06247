"""Tell whether a candidate can be merged with a model tensor by tensor, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit
from kingyo.merging.vocabulary import Diagnostic, compare, forget_tokenizers, stored_files
from kingyo.scout.candidate import Candidate, Exclusion
from kingyo.scout.sizes import sizes_in_words

_CANDIDATE = "this model"
"""The candidate in findings, which are the same for all models with its tokenizer."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which candidates the user allows.

    Attributes:
        strict_licences: exclude candidates whose licence is unknown or not stated.
        allow_pickle: read weights that exist only as pickles.
    """

    strict_licences: bool = False
    allow_pickle: bool = False


class Judge:
    """Compare candidates with other models.

    Many models have the same tokenizer, byte by byte: the result of each comparison of tokenizers is kept.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._findings: dict[tuple[str, bytes], tuple[Diagnostic, ...]] = {}

    def judge(self, candidate: Candidate, model: Checkpoint, like: Checkpoint) -> Candidate:
        """Return the candidate with what keeps it from a merge with ``like``, or with notes."""
        if candidate.facts.runs_code:
            return _out(candidate, Exclusion(reason="remote code", detail="its config names Python files"))
        try:
            fitted = fit(like, [model])
        except KingyoError as error:
            return _out(candidate, _misfit(model, like, error))
        if candidate.facts.lacks_tokenizer:
            return _out(candidate, Exclusion(reason="no tokenizer"))
        findings = self._compare(model, like)
        for each in findings:
            if each.level == "error":
                detail = each.short or in_words(each.error)
                return _out(candidate, Exclusion(reason="another vocabulary", detail=detail))
        of_licence = next(_licences(candidate, self._rules), None)
        if of_licence is not None:
            return _out(candidate, of_licence)
        more = [in_words(each.error) for each in findings if each.level == "warning"]
        return replace(candidate, notes=(*fitted.warnings, *more))

    def _compare(self, model: Checkpoint, like: Checkpoint) -> tuple[Diagnostic, ...]:
        """Compare the tokenizers of two models."""
        digest = sha256()
        for name, content in stored_files(model.path).items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        key = like.reference, digest.digest()
        if key not in self._findings:
            self._findings[key] = compare({like.reference: like.path, _CANDIDATE: model.path})
            forget_tokenizers()
        return self._findings[key]


def _out(candidate: Candidate, exclusion: Exclusion) -> Candidate:
    return replace(candidate, exclusion=exclusion)


def _misfit(model: Checkpoint, like: Checkpoint, error: KingyoError) -> Exclusion:
    """Return the exclusion for an error of ``fit``: of the vocabulary, if a longer one would fit."""
    detail = sizes_in_words(model, like) or in_words(error)
    try:
        fit(like, [model], resize="pad-vocab")
    except KingyoError:
        return Exclusion(reason="another architecture or size", detail=detail)
    return Exclusion(reason="another vocabulary", detail=detail)


def in_words(error: KingyoError) -> str:
    """Return what differs, without the remedy.

    Example:
        >>> in_words(KingyoError("norm", expected="one shape: [2] as in a", received="[3] in b", remedy=""))
        'norm: [3] in b, not [2] as in a'
    """
    if " as in " not in error.expected:
        return error.received if " and " in error.argument else f"{error.argument}: {error.received}"
    return f"{error.argument}: {error.received}, not {error.expected.rpartition(': ')[2]}"


def in_full(error: KingyoError) -> str:
    """Return what was expected and what was found, without the remedy."""
    return f"{error.argument}: expected {error.expected}; received {error.received}"


def _licences(candidate: Candidate, rules: Rules) -> Iterator[Exclusion]:
    if "no derivatives" in candidate.licence_kinds:
        yield Exclusion(reason="a licence that forbids derivatives", detail=candidate.licence or "")
    if rules.strict_licences and None in candidate.licence_kinds:
        yield Exclusion(reason="an unknown licence", detail=candidate.licence or "not stated")
