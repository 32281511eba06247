"""Image classifiers of transformers, which rate the likelihood of each class of an image.

Images are preprocessed as the model's preprocessor_config.json defines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.types import (
    MEDIA,
    Answered,
    Example,
    HasGradients,
    Item,
    Media,
    Progress,
    RatesClasses,
    TakeGradient,
    ignore_progress,
)
from kingyo.errors import KingyoError
from kingyo.models.kinds import (
    MODEL_KINDS,
    CardPart,
    Config,
    LoadOptions,
    Options,
    Question,
    Workload,
    architectures,
    errors_of,
)
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.images import PROCESSOR_REMEDY, ImageProcessor

NAME = "image-classification"
_ENDING = "ForImageClassification"


class LiveImageClassifier:
    """An image classifier whose weights can be overwritten in place.

    It caches preprocessed pixels, which do not depend on the weights.
    """

    def __init__(
        self, model: Any, processor: ImageProcessor, weights: Mapping[str, Tensor], options: LoadOptions
    ) -> None:
        from kingyo.models.image_features import kept_bytes

        self._model = model
        self._processor = processor
        self._batch_size = options.batch_size
        self._pixels = Cache[Tensor](kept_bytes(), folder=options.scratch)
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))
        self.progress: Progress = ignore_progress
        self.classes = _classes(cast("Config", model.config.to_dict()))

    @property
    def dtype(self) -> str:
        return str(self._model.dtype).removeprefix("torch.")

    def rate_classes(self, images: Sequence[Media]) -> list[list[float]]:
        """Return the log-probability of each class, for each image."""
        rates: list[list[float]] = []
        for start in range(0, len(images), self._batch_size):
            pixels = self._pixels_of(images[start : start + self._batch_size])
            with torch.inference_mode():
                logits = self._logits(pixels)
                log_probs = torch.log_softmax(logits.float(), dim=-1)
            rates += cast("list[list[float]]", log_probs.tolist())  # pyright: ignore[reportUnknownMemberType]
            self.progress(Answered(len(rates), len(rates), len(images)))
        return rates

    def loss_gradients(
        self, examples: Sequence[Example], names: Collection[str], take: TakeGradient
    ) -> float:
        """Return the mean −log p of the right classes; pass its derivatives by named weights to ``take``.

        p is among the class of an example and its ``others``.
        """
        from kingyo.models.training import gradients, widened

        places = [[int(each) for each in (example.answer, *example.others)] for example in examples]
        pixels = self._pixels_of([example.images[0] for example in examples])

        def loss() -> Tensor:
            logits = widened(self._logits(pixels))
            logs = [torch.log_softmax(row[own], dim=0) for row, own in zip(logits, places, strict=True)]
            return -torch.stack([each[0] for each in logs]).mean()

        return gradients([loss], self._model, self.weights, names, take)

    def _logits(self, pixels: Tensor) -> Tensor:
        try:
            return cast("Tensor", self._model(pixel_values=pixels).logits)
        except ValueError as error:
            expected = "images that fit the model"
            received = f"pixels of shape {list(pixels.shape[1:])}: {error}"[:300]
            raise KingyoError("preprocessor_config.json", expected, received, PROCESSOR_REMEDY) from error

    def _pixels_of(self, images: Sequence[Media]) -> Tensor:
        stacked = torch.stack([self._prepared(each) for each in images])
        return stacked.to(self._model.device, self._model.dtype)

    def _prepared(self, image: Media) -> Tensor:
        pixels = self._pixels.get(image.sha256)
        return self._pixels.put(image.sha256, self._processor(image)) if pixels is None else pixels


class ClassifierInput:
    """The classes of an image classifier and its image processor, without weights."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoModelForImageClassification

        from kingyo.models.loading import load_shapes

        self.process = ImageProcessor.load(path, remote_code=False)
        model = load_shapes(path, AutoModelForImageClassification)
        self.classes = _classes(cast("Config", model.config.to_dict()))


class ImageClassification:
    """Image classifiers (any AutoModelForImageClassification)."""

    name = NAME
    provides = (RatesClasses, HasGradients)
    libraries = ("transformers", "pillow", "torchvision")
    card = CardPart(
        pipeline_tag=NAME,
        auto_class="AutoModelForImageClassification",
        scored="the most likely class of each image",
    )

    def takes(self, config: Config, pipeline: Config) -> bool:  # noqa: ARG002 (required by the protocol)
        return any(each.endswith(_ENDING) for each in architectures(config))

    def load(self, path: Path, options: LoadOptions) -> LiveImageClassifier:
        from transformers import AutoModelForImageClassification

        from kingyo.models.loading import live_weights, load_model

        processor = ImageProcessor.load(path, remote_code=options.remote_code)
        model = load_model(path, options, AutoModelForImageClassification)
        return LiveImageClassifier(model, processor, live_weights(model, path), options)

    def preprocessor(self, path: Path) -> ClassifierInput:
        return ClassifierInput(path)

    def validate(self, path: Path, questions: Sequence[Question]) -> Iterable[KingyoError]:
        own = self.preprocessor(path)
        return errors_of(own.process, [image for each in questions for image in each.inputs])

    def memory(self, path: Path, config: Config, load: Workload) -> None:
        """Return None: the memory depends on the architecture."""

    def usage(self, example: Item, options: Options) -> str:  # noqa: ARG002 (required by the protocol)
        image = f"{MEDIA}/{example.media[0].name}" if example.media else "image.png"
        return (
            "from transformers import pipeline\n\n"
            "classify = pipeline('image-classification', model='.')  # this folder\n"
            f"print(classify({image!r})[0])\n"
        )


def _classes(config: Config) -> tuple[str, ...]:
    id2label = cast("Mapping[int, object]", config.get("id2label") or {})
    if sorted(id2label) != list(range(len(id2label))):
        expected = f"the classes 0 to {len(id2label) - 1}"
        remedy = "Number the classes like the rows of the model's head: 0, 1, 2, …"
        raise KingyoError("id2label in config.json", expected, f"{sorted(id2label)}"[:80], remedy)
    return tuple(str(id2label[number]) for number in sorted(id2label))


MODEL_KINDS.register(NAME)(ImageClassification())
