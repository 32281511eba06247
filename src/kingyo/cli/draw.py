"""The command ``draw``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AllowPickle, AsJson, Device, Kind, Model
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.io.files import write_bytes
from kingyo.io.pipeline_index import PIPELINE
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.models.kinds import LoadOptions, ModelKind
    from kingyo.types import Drawing, DrawingPrompt, DrawsPictures, Media

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="PNG file to write.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first picture.")]
Count = Annotated[
    int, typer.Option("--count", "-n", min=1, help="Number of pictures: out-0.png, out-1.png, …")
]
Steps = Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.  \\[default: see below]")]
GuidanceScale = Annotated[
    float | None, typer.Option("--guidance-scale", min=0, help="Weight of the prompt; 0 is no guidance.")
]
NegativePrompt = Annotated[
    str | None, typer.Option("--negative-prompt", help="What guidance leads away from.")
]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, float16 or bfloat16.  \\[default: see below]"),
]
Side = Annotated[int | None, typer.Option(min=8, help="In pixels.  \\[default: the model's]")]


def draw(
    model: Model,
    prompt: Prompt,
    out: Out = Path("out.png"),
    seed: Seed = 0,
    count: Count = 1,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    negative_prompt: NegativePrompt = None,
    height: Side = None,
    width: Side = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
    as_json: AsJson = False,
) -> None:
    """Draw a picture of a prompt with an image generator.

    A model that kingyo exported draws as it was scored: its task.yaml gives steps,
    guidance, scheduler and size. Options replace them. Other models take 20 steps
    and their own guidance, and draw on a CPU in float32, which is faster there than
    16 bits. All others draw in the dtype of their weights.

    Example: `kingyo draw my-model "a cat" --seed 0 --steps 4 -o cat.png`
    """
    from kingyo.models.kinds import LoadOptions
    from kingyo.types import Drawing, DrawingPrompt

    scored = _as_scored(Path(model))
    drawing = _replaced(
        scored or Drawing(),
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
    )
    prompts = [DrawingPrompt(prompt, (seed + number) % 2**32) for number in range(count)]
    files = _files(out, count)
    options = LoadOptions(
        dtype=_known(dtype) if dtype or device != "cpu" or scored else "float32",
        device=device,
        batch_size=1,
        allow_pickle=allow_pickle,
    )
    live = _load(model, kind, options, lambda found, path: _check(found, path, prompts, drawing))
    for each, file in zip(prompts, files, strict=True):
        _write(file, live.draw([each], drawing)[0])
        if not as_json:
            echo(f"{file}: seed {each.seed}, {counted(drawing.steps, 'step')}")
    if as_json:
        pictures = [{"file": str(file), "seed": each.seed} for each, file in zip(prompts, files, strict=True)]
        print_json({"model": model, "prompt": prompt, "steps": drawing.steps, "pictures": pictures})


def _replaced(drawing: Drawing, **values: Any) -> Drawing:
    """Return settings with other values; None leaves a value unchanged."""
    changed = replace(drawing, **{name: value for name, value in values.items() if value is not None})
    _require_both_sides(changed)
    return changed


def _as_scored(model: Path) -> Drawing | None:
    """Return the settings in the task file of an exported model or of the pipeline around it, or None."""
    from kingyo.tasks.draw import DrawSettings

    root = model.parent if (model.parent / PIPELINE).is_file() else model
    for file in (root / "task.yaml", root / "tasks.yaml"):
        if file.is_file():
            for each in _settings_in(file):
                if isinstance(each, DrawSettings):
                    return each.drawing
            echo(f"Note: {file} has no task of kind draw, so its settings are not used.", err=True)
            return None
    return None


def _settings_in(file: Path) -> list[object]:
    """Return the settings of each task in a file; errors name the file, which the command does not."""
    from kingyo.run.config_file import specs_in
    from kingyo.tasks import settings_of

    try:
        return [settings_of(spec, file.parent) for spec in specs_in(file).values()]
    except KingyoError as error:
        if str(file) in error.argument:
            raise
        raise error.placed(str(file)) from error


def _known(dtype: str | None) -> str | None:
    from kingyo.recipe import DTYPES

    if dtype is not None and dtype not in DTYPES:
        raise unknown_name_error("--dtype", dtype, DTYPES)
    return dtype


def _load(
    model: str, kind: str | None, options: LoadOptions, check: Callable[[ModelKind, Path], None]
) -> DrawsPictures:
    """Load a model that draws, after a check of its kind and folder."""
    from kingyo.models.kinds import require_needs
    from kingyo.run.model_kind import load_checkpoint, open_alone
    from kingyo.types import DrawsPictures

    checkpoint, found = open_alone(model, kind, allow_pickle=options.allow_pickle)
    require_needs("kingyo draw", DrawsPictures, found)
    check(found, checkpoint.path)
    return cast(DrawsPictures, load_checkpoint(checkpoint, found, options))


def _require_both_sides(drawing: Drawing) -> None:
    """Check that height and width are given together, because some pipelines ignore one alone."""
    if (drawing.height is None) != (drawing.width is None):
        raise KingyoError(
            "--height and --width",
            expected="both, or neither",
            received="--width only" if drawing.height is None else "--height only",
            remedy="Add the other.",
        )


def _files(out: Path, count: int) -> list[Path]:
    """Return the files to write, after checking that each is new or an earlier picture."""
    if out.suffix.lower() != ".png":
        raise KingyoError("--out", expected="a .png file", received=f"{out}", remedy="Write -o picture.png.")
    files = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(count)]
    for file in files:
        if not file.parent.is_dir() or (file.exists() and not _is_png(file)):
            raise KingyoError(
                "--out",
                expected="a new file in an existing folder, or an earlier picture",
                received=f"{file}",
                remedy="Name another file.",
            )
    return files


def _is_png(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(8) == b"\x89PNG\r\n\x1a\n"


def _check(kind: ModelKind, path: Path, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> None:
    """Check the settings, and print a note if the text encoders cut the prompt."""
    from kingyo.models.kinds import Question

    def errors(*, truncate: bool) -> Iterable[KingyoError]:
        options = {"drawing": replace(drawing, truncate=truncate)}
        return kind.validate(path, [Question("draw", prompts[:1], options)])

    for error in errors(truncate=True):
        raise error
    for error in errors(truncate=False):
        echo(f"Note: the text encoder reads {error.expected.split(',')[0]}; {error.received}.", err=True)


def _write(file: Path, picture: Media) -> None:
    try:
        write_bytes(file, picture.read())
    except OSError as error:
        raise KingyoError(
            str(file),
            expected="a file that can be written",
            received=str(error.strerror),
            remedy="Name another file with --out.",
        ) from error
