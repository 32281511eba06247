"""Ask the Hub for models, and wait as long as its rate limit asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

T = TypeVar("T")

FOLDER_OR_MODEL = "a folder, or a model on the Hub"
"""What an error expects instead of a name that is neither."""
_MAX_WAIT = 60.0  # seconds
_N_TRIES = 4
_TOO_MANY = 429  # the status of a rate limit


class NoSuchModelError(KingyoError):
    """A name is neither a path nor that of a model on the Hub."""


def list_models(tag: str, limit: int) -> Iterator[ModelInfo]:
    """Yield models of the Hub with a tag, such as ``base_model:finetune:org/name``."""
    from huggingface_hub import HfApi

    try:
        yield from HfApi().list_models(filter=tag, limit=limit, full=True, cardData=True, fetch_config=True)
    except Exception as error:  # huggingface_hub raises the errors of several libraries
        expected = "a list of models from the Hub"
        remedy = "Try again later, or name the models; log in with `hf auth login` if they are not public."
        raise KingyoError(f"hub:{tag}", expected, f"{error!s:.200}", remedy) from error


def describe_model(name: str, revision: str | None) -> ModelInfo:
    """Return what the Hub says of a model, without its files."""
    from huggingface_hub import HfApi, errors

    try:
        return patiently(lambda: HfApi().model_info(name, revision=revision))
    except Exception as error:
        words = (str(error).strip().splitlines() or [""])[0].partition(" for url")[0]
        is_absent = type(error) in (errors.RepositoryNotFoundError, errors.OfflineModeIsEnabled)
        raise (NoSuchModelError if is_absent else KingyoError)(
            name,
            FOLDER_OR_MODEL,
            f"no such folder here; and from the Hub {type(error).__name__}: {words:.80}",
            "Correct the path or the name; log in with `hf auth login` if it is not public.",
        ) from error


@contextmanager
def without_bars() -> Generator[None]:
    """Hide the progress bars of downloads: there would be several for each candidate."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def patiently(call: Callable[[], T]) -> T:
    """Call, and call again after the wait that a rate limit of the Hub asks for."""
    for _ in range(_N_TRIES - 1):
        try:
            return call()
        except (OSError, KingyoError) as error:
            wait = _wait_asked(error)
            if wait is None:
                raise
            time.sleep(min(wait, _MAX_WAIT))
    return call()


def _wait_asked(error: BaseException | None) -> float | None:
    """Return the seconds to wait if the Hub has refused a request for its rate; else None."""
    while error is not None:
        response: object = getattr(error, "response", None)
        if response is not None and getattr(response, "status_code", None) == _TOO_MANY:
            headers = cast("dict[str, str]", getattr(response, "headers", {}))
            asked = headers.get("Retry-After", "")
            return float(asked) if asked.isdigit() else _MAX_WAIT / 2
        error = error.__cause__
    return None
