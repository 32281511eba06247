"""All mistakes in the form of recipes are reported together, and then all in their values and models."""

from __future__ import annotations

from pathlib import Path

from kingyo.errors import KingyoError, MistakesError
from kingyo.merging.engine.preflight import check_merge
from tests.models_on_disk import llama


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_text(text)
    try:
        error = check_merge(file, folder / "out").error
    except KingyoError as raised:
        error = raised
    assert error is not None
    return [str(each) for each in error.mistakes] if isinstance(error, MistakesError) else [str(error)]


def require(messages: list[str], *parts: str) -> None:
    """Check that each of these parts is reported exactly once, and no other mistake."""
    for part in parts:
        assert sum(part in each for each in messages) == 1, (part, messages)
    assert len(messages) == len(parts), messages


def test_all_mistakes_in_the_form_are_reported_at_once(tmp_path: Path) -> None:
    messages = mistakes(
        tmp_path,
        """
merge_metod: linear
models:
  - {modle: a, wieght: 1, parameters: {weight: [a, 1]}}
  - {model: }
dtype: float23
""",
    )
    require(
        messages,
        "received 'merge_metod'",
        "models[0]: expected a known key; received 'modle', 'wieght'",
        "models[0].parameters.weight: expected a gradient",
        "models[1].model: expected a folder or a Hub name; received nothing",
        "dtype: expected a known name; received 'float23'. Did you mean 'float32'?",
    )


def test_all_wrong_values_and_models_are_reported_at_once(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_method: task_arithmetic
models:
  - {{model: {models}/source-0, parameters: {{weight: x}}}}
  - {{model: {models}/nowhere, parameters: {{weight: 1}}}}
parameters: {{lamda: 1}}
""",
    )
    require(
        messages,
        "nowhere: expected a folder",
        "parameters: expected parameters of task_arithmetic; received 'lamda'",
        "base_model: expected a base for task_arithmetic",
        "weight of ",
    )


def test_a_missing_model_hides_neither_missing_values_nor_models_that_do_not_fit(
    tmp_path: Path, models: Path
) -> None:
    llama(tmp_path / "wide", hidden=32)
    names = (f"{models}/source-0", f"{models}/source-1", tmp_path / "wide", tmp_path / "nowhere")
    listed = "\n".join(f"- {{model: {name}}}" for name in names)
    messages = mistakes(tmp_path, f"merge_method: liner\nmodels:\n{listed}\n")
    fit = "one shape in all models"
    require(
        messages,
        "'liner'. Did you mean",
        fit,
        *(f"weight of {name}:" for name in names),
        "nowhere: expected a folder",
    )
