"""The command ``draw``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from kingyo.cli.options import Between, Positive, declared, writing
from kingyo.cli.output import echo, print_json
from kingyo.core.io.files import write_bytes
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError, unknown_name_error

if TYPE_CHECKING:
    from kingyo.core.types import Drawing
    from kingyo.models.kinds import LoadOptions

Side = Annotated[int | None, Between(8)]


@declared("kingyo.models.kinds:LoadOptions", without=("batch_size", "remote_code", "scratch"))
def draw(
    options: LoadOptions,
    model: str,
    prompt: str,
    *,
    out: Path = Path("out.png"),
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0,
    count: Positive = 1,
    steps: Annotated[int | None, Between(1, 1000)] = None,
    guidance_scale: Annotated[float | None, Between(0)] = None,
    negative_prompt: str | None = None,
    height: Side = None,
    width: Side = None,
    kind: str | None = None,
    as_json: bool = False,
) -> None:
    """Draw a picture of a prompt with an image generator.

    A model that kingyo exported draws as it was scored: its task.yaml gives steps,
    guidance, scheduler and size. Options replace them. Other models take 20 steps
    and their own guidance, and draw on a CPU in float32, which is faster there than
    16 bits. All others draw in the dtype of their weights.

    Example: `kingyo draw my-model "a cat" --seed 0 --steps 4 -o cat.png`

    Args:
        prompt: what to draw.
        out: PNG file to write.
        seed: seed of the first picture.
        count: number of pictures: out-0.png, out-1.png, …
        steps: denoising steps. Default: see above.
        guidance_scale: weight of the prompt; 0 is no guidance.
        negative_prompt: what guidance leads away from.
        height: in pixels. Default: the model's.
        width: in pixels. Default: the model's.
    """
    from kingyo.core.types import Drawing, DrawingPrompt, DrawsImages
    from kingyo.merging.recipe import DTYPES
    from kingyo.models.kinds import Question, require_needs
    from kingyo.runs.model_kind import load_checkpoint, open_alone

    scored = _as_scored(Path(model))
    names = ("steps", "guidance_scale", "negative_prompt", "height", "width")
    given = zip(names, (steps, guidance_scale, negative_prompt, height, width), strict=True)
    changes: dict[str, Any] = {name: value for name, value in given if value is not None}
    drawing = replace(scored or Drawing(), **changes)
    if (drawing.height is None) != (drawing.width is None):  # some pipelines ignore one alone
        raise KingyoError("--height and --width", "both, or neither", "one of them", "Add the other.")
    if out.suffix.lower() != ".png":
        raise KingyoError("--out", "a .png file", f"{out}", "Write -o picture.png.")
    files = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(count)]
    if options.dtype is not None and options.dtype not in DTYPES:
        raise unknown_name_error("--dtype", options.dtype, DTYPES)
    is_plain = not (options.dtype or options.device != "cpu" or scored)
    options = replace(options, dtype="float32" if is_plain else options.dtype, batch_size=1)
    checkpoint, found = open_alone(model, kind, allow_pickle=options.allow_pickle)
    require_needs("kingyo draw", DrawsImages, found)
    prompts = [DrawingPrompt(prompt, (seed + number) % 2**32) for number in range(count)]
    for truncate in (True, False):
        question = Question("draw", prompts[:1], {"drawing": replace(drawing, truncate=truncate)})
        for error in found.validate(checkpoint.path, [question]):
            if truncate:
                raise error
            echo(f"Note: the prompt is cut: {error}", err=True)
    live = cast(DrawsImages, load_checkpoint(checkpoint, found, options))
    for each, file in zip(prompts, files, strict=True):
        with writing("--out"):
            write_bytes(file, live.draw([each], drawing)[0].read())
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
    files = [each for each in (root / "task.yaml", root / "tasks.yaml") if each.is_file()]
    try:
        settings = [settings_of(spec, root) for file in files for spec in specs_in(file).values()]
    except KingyoError as error:
        raise error if str(files[0]) in error.argument else error.placed(str(files[0])) from error
    drawn = [each.drawing for each in settings if isinstance(each, DrawSettings)]
    if settings and not drawn:
        echo(f"Note: {files[0]} has no task of kind draw, so its settings are not used.", err=True)
    return drawn[0] if drawn else None
