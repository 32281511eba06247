"""A kind of model that draws."""

from typing import Protocol

from kingyo.models.kinds import CardPart


class Draws(Protocol):
    """A model that draws pictures.

    The rest of this text is for authors.
    """

    def draw(self, prompts: list[str]) -> list[bytes]: ...


class Painter:
    """A kind of model that only draws."""

    name = "painter"
    provides = (Draws,)
    card = CardPart(pipeline_tag="text-to-image", auto_class="Painter", scored="its pictures")
    libraries = ("diffusers",)

    def takes(self, config, pipeline):
        return config["_class_name"] == "Painter"

    def load(self, path, options): ...

    def validate(self, path, questions): ...

    def memory(self, path, config, load): ...

    def usage(self, example, options): ...


PAINTER = Painter()
