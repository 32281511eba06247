"""Diffusion pipelines of diffusers, which draw images of prompts; their denoiser is merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.core.io.pipeline_index import DENOISERS, component_classes
from kingyo.core.types import DrawsImages, Item
from kingyo.errors import KingyoError
from kingyo.models.kinds import (
    MODEL_KINDS,
    BatchMemory,
    CardPart,
    Config,
    LoadOptions,
    Options,
    Question,
    Workload,
)

if TYPE_CHECKING:
    from kingyo.models.text_to_image import LivePipeline

NAME = "text-to-image"
_DENOISER_CLASSES = ("UNet2DConditionModel", "Transformer2DModel")
_OTHER_INPUTS = ("Inpaint", "Img2Img", "Image2Image", "Upscale", "Pix2Pix", "ControlNet", "Video", "Audio")
"""Words in the names of pipelines that need more than a text, or make something else."""
_NEEDED = {"text_encoder", "scheduler", "vae"}
"""Components that a pipeline has besides its denoiser."""


class TextToImage:
    """Diffusion pipelines (any DiffusionPipeline with a UNet or a transformer that draws from a text)."""

    name = NAME
    provides = (DrawsImages,)
    libraries = ("diffusers", "transformers", "tokenizers", "pillow")
    card = CardPart(
        pipeline_tag=NAME,
        auto_class="DiffusionPipeline",
        scored="an image of each prompt and seed",
        library="diffusers",
    )
    around = ("text_encoder*", "tokenizer*", "vae", "scheduler")

    def takes(self, config: Config, pipeline: Config) -> bool:
        """Return whether a model is a denoiser: alone, or in a pipeline that draws from a text.

        One without a pipeline is merged with others, but cannot give the components around them.
        """
        if not pipeline:
            return str(config.get("_class_name")).endswith(_DENOISER_CLASSES)
        if any(word in str(pipeline.get("_class_name")) for word in _OTHER_INPUTS):
            return False
        classes = component_classes(pipeline)
        denoisers = [classes[name] for name in DENOISERS if name in classes]
        return config.get("_class_name") in denoisers and classes.keys() >= _NEEDED

    def load(self, path: Path, options: LoadOptions) -> LivePipeline:
        from kingyo.models.text_to_image import LivePipeline

        return LivePipeline.load(path, options)

    def validate(self, path: Path, questions: Sequence[Question]) -> Iterable[KingyoError]:
        from kingyo.models.text_to_image import DrawingCheck

        return DrawingCheck(path).errors(questions)

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory | None:
        """Return None: the memory depends on the architecture."""

    def pipeline_files(self, path: Path, options: Sequence[Options]) -> Mapping[str, str]:
        """Return the scheduler of the tasks and the index that names it; nothing if tasks differ."""
        from kingyo.models.text_to_image import scheduler_files

        drawn = [cast("Mapping[str, object]", each["scheduler"]) for each in options if "scheduler" in each]
        if not drawn or not drawn[0] or any(each != drawn[0] for each in drawn):
            return {}
        return scheduler_files(path.parent, drawn[0])

    def usage(self, example: Item, options: Options) -> str:
        given = {name: options.get(name) for name in ("guidance_scale", "height", "width")}
        given = {name: value for name, value in given.items() if value is not None}
        if options.get("negative_prompt"):
            given["negative_prompt"] = options["negative_prompt"]
        given |= cast("Mapping[str, object]", options.get("arguments") or {})
        more = "".join(f"    {name}={value!r},\n" for name, value in given.items())
        scheduler = cast("Mapping[str, object]", options.get("scheduler") or {})
        imported = "import diffusers\n" if "class" in scheduler else ""
        return (
            f"{imported}import torch\nfrom diffusers import DiffusionPipeline\n\n"
            "pipeline = DiffusionPipeline.from_pretrained('.')  # this folder\n"
            f"{_scheduler_code(scheduler)}"
            "image = pipeline(\n"
            f"    {example.prompt!r},\n"
            f"    num_inference_steps={options.get('steps')},\n"
            f"    generator=torch.Generator().manual_seed({example.seed or 0}),\n"
            f"{more}"
            ").images[0]\n"
            "image.save('image.png')\n"
        )


def _scheduler_code(changes: Mapping[str, object]) -> str:
    if not changes:
        return ""
    settings = "".join(f", {key}={value!r}" for key, value in changes.items() if key != "class")
    kind = f"diffusers.{changes['class']}" if "class" in changes else "type(pipeline.scheduler)"
    return f"pipeline.scheduler = {kind}.from_config(pipeline.scheduler.config{settings})\n"


MODEL_KINDS.register(NAME)(TextToImage())
