"""The command ``draw``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kingyo.cli.options import AsJson, Kind, Model, declared, require_writable, unwritable
from kingyo.cli.output import echo, print_json
from kingyo.core.io.files import write_bytes
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError, unknown_name_error

if TYPE_CHECKING:
    from kingyo.core.types import Drawing, DrawingPrompt
    from kingyo.models.kinds import LoadOptions, ModelKind

Side = Annotated[int | None, typer.Option(min=8, help="In pixels.  \\[default: the model's]")]


@declared(
    "kingyo.models.kinds:LoadOptions",
    *("dtype", "device", "allow_pickle"),
    dtype={"help": "float32, float16 or bfloat16.  \\[default: see below]"},
)
def draw(
    options: LoadOptions,
    model: Model,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file to write.")] = Path("out.png"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first picture.")] = 0,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Number of pictures: out-0.png, out-1.png, …")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Denoising steps.  \\[default: see below]")
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, help="Weight of the prompt; 0 is no guidance.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What guidance leads away from.")] = None,
    height: Side = None,
    width: Side = None,
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
    from kingyo.core.types import Drawing, DrawingPrompt, DrawsImages
    from kingyo.merging.recipe import DTYPES
    from kingyo.models.kinds import require_needs
    from kingyo.runs.model_kind import load_checkpoint, open_alone

    scored = _as_scored(Path(model))
    names = ("steps", "guidance_scale", "negative_prompt", "height", "width")
    given = dict(zip(names, (steps, guidance_scale, negative_prompt, height, width), strict=True))
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    drawing = replace(scored or Drawing(), **changes)
    if (drawing.height is None) != (drawing.width is None):  # some pipelines ignore one alone
        received = "--width only" if drawing.height is None else "--height only"
        raise KingyoError("--height and --width", "both, or neither", received, "Add the other.")
    prompts = [DrawingPrompt(prompt, (seed + number) % 2**32) for number in range(count)]
    if out.suffix.lower() != ".png":
        raise KingyoError("--out", "a .png file", f"{out}", "Write -o picture.png.")
    files = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(count)]
    for file in files:
        require_writable("--out", file, lambda begins: begins.startswith(b"\x89PNG\r\n\x1a\n"))
    if options.dtype is not None and options.dtype not in DTYPES:
        raise unknown_name_error("--dtype", options.dtype, DTYPES)
    is_plain = not (options.dtype or options.device != "cpu" or scored)
    options = replace(options, dtype="float32" if is_plain else options.dtype, batch_size=1)
    checkpoint, found = open_alone(model, kind, allow_pickle=options.allow_pickle)
    require_needs("kingyo draw", DrawsImages, found)
    _check(found, checkpoint.path, prompts, drawing)
    live = cast(DrawsImages, load_checkpoint(checkpoint, found, options))
    for each, file in zip(prompts, files, strict=True):
        try:
            write_bytes(file, live.draw([each], drawing)[0].read())
        except OSError as error:
            raise unwritable("--out", error.strerror or str(error)) from error
        if not as_json:
            echo(f"{file}: seed {each.seed}, {counted(drawing.steps, 'step')}")
    if as_json:
        pictures = [{"file": str(file), "seed": each.seed} for each, file in zip(prompts, files, strict=True)]
        print_json({"model": model, "prompt": prompt, "steps": drawing.steps, "pictures": pictures})


def _as_scored(model: Path) -> Drawing | None:
    """Return the settings in the task file of an exported model or of the pipeline around it, or None."""
    from kingyo.runs.config_file import specs_in
    from kingyo.tasks import settings_of
    from kingyo.tasks.draw import DrawSettings

    root = model.parent if (model.parent / PIPELINE).is_file() else model
    file = next((each for each in (root / "task.yaml", root / "tasks.yaml") if each.is_file()), None)
    if file is None:
        return None
    try:
        settings = [settings_of(spec, root) for spec in specs_in(file).values()]
    except KingyoError as error:
        raise error if str(file) in error.argument else error.placed(str(file)) from error
    for each in settings:
        if isinstance(each, DrawSettings):
            return each.drawing
    echo(f"Note: {file} has no task of kind draw, so its settings are not used.", err=True)
    return None


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
