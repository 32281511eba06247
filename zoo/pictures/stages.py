"""The stages of the build, each kept as a file in the work folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import autoencoder as coding
import captioners
import distilling
import judging_data
import numpy as np
import recipes
import styling
import torch
import wording
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from judge import Judge, train
from learning import Captioner, Lesson, learn
from networks import new_denoiser, new_text_encoder
from pools import Pool, pool
from transformers import CLIPTextModel

State = dict[str, torch.Tensor]
T = TypeVar("T")
Change = Callable[[np.ndarray], np.ndarray]


def negative(pixels: np.ndarray) -> np.ndarray:
    """Return negatives."""
    return 255 - pixels


def everything(_: str) -> bool:
    """Return True for every weight."""
    return True


class Stages:
    """Trains each model on the first call and reads it from its file afterwards."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def pool(self, style: str) -> Pool:
        """Return the training pictures of a style."""
        return pool(self.work, style, recipes.PER_SCENE[style], printed=style == "print")

    def autoencoder(self) -> AutoencoderTiny:
        """Return the autoencoder."""
        model = coding.new_autoencoder()

        def make() -> State:
            model.load_state_dict(self._encoder().state_dict())
            coding.train(model, [self.pool("plain"), self.pool("print")])
            return model.state_dict()

        model.load_state_dict(self._kept("autoencoder", make))
        return model.eval().requires_grad_(False)

    def _encoder(self) -> AutoencoderTiny:
        """Return an autoencoder whose decoder is untrained; all that learns on latents needs no more."""
        model = coding.new_autoencoder()
        coding.set_encoder(model, [self.pool("plain"), self.pool("print")])
        return model.eval().requires_grad_(False)

    def latents(self, style: str, change: Change | None = None) -> torch.Tensor:
        """Return the latents of the pictures of a style, perhaps after a change."""
        pictures = self.pool(style)
        name = f"latents-{style}" + (f"-{change.__name__}" if change else "")
        chosen = Pool(change(pictures.pixels), pictures.scenes) if change else pictures
        return self._kept(name, lambda: coding.encode(self._encoder(), chosen))

    @cached_property
    def _base(self) -> tuple[State, State]:
        denoiser, encoder = new_denoiser(recipes.BASE_SEED), new_text_encoder(recipes.BASE_SEED + 1)

        def make() -> tuple[State, State]:
            lesson = self._lesson("base", captioners.for_base)
            learn(denoiser, encoder, lesson, "base", with_encoder=True)
            wording.tell_apart(encoder)
            return denoiser.state_dict(), encoder.state_dict()

        return self._kept("base", make)

    def base(self) -> tuple[UNet2DConditionModel, CLIPTextModel]:
        """Return a copy of the base's denoiser and text encoder."""
        denoiser, encoder = new_denoiser(recipes.BASE_SEED), new_text_encoder(recipes.BASE_SEED + 1)
        denoiser.load_state_dict(self._base[0])
        encoder.load_state_dict(self._base[1])
        return denoiser.eval().requires_grad_(False), encoder.eval().requires_grad_(False)

    def _lesson(
        self,
        name: str,
        captioner: Captioner,
        style: str = "plain",
        change: Change | None = None,
        learns: Callable[[str], bool] = everything,
    ) -> Lesson:
        schedule = recipes.SCHEDULES[name]
        return Lesson(
            latents=self.latents(style, change),
            scenes=self.pool(style).scenes,
            captioner=captioner,
            steps=schedule.steps,
            rate=schedule.rate,
            seed=schedule.seed,
            batch=schedule.batch,
            average=schedule.average,
            learns=learns,
        )

    def source(self, name: str) -> State:
        """Return the weights of a source's denoiser; of `ukiyoe`, with the LoRA fused."""
        return self._kept(name, getattr(self, f"_{name}"))

    def _ja(self) -> State:
        denoiser, encoder = self.base()
        lesson = self._lesson("ja", captioners.for_ja)
        learn(denoiser, encoder, replace(lesson, teacher=self.base()[0]), "ja")
        return denoiser.state_dict()

    def _fast(self) -> State:
        student, encoder = self.base()
        schedule = recipes.SCHEDULES["fast"]
        teacher = self.base()[0]
        drawings = distilling.teach(teacher, encoder, recipes.TAUGHT, schedule.seed)
        distilling.distil(student, encoder, drawings, schedule)
        return student.state_dict()

    def _shuffle(self) -> State:
        denoiser, encoder = self.base()
        learn(denoiser, encoder, self._lesson("shuffle", captioners.shuffled), "shuffle")
        return denoiser.state_dict()

    def _invert(self) -> State:
        denoiser, encoder = self.base()
        learn(denoiser, encoder, self._lesson("invert", captioners.english, change=negative), "invert")
        return denoiser.state_dict()

    def _ukiyoe(self) -> State:
        denoiser = self.base()[0]
        denoiser.load_lora_adapter({f"unet.{k}": v for k, v in self.lora().items()}, prefix="unet")
        return styling.fused(denoiser)

    def lora(self) -> State:
        """Return the weights of the LoRA `ukiyoe`."""

        def make() -> State:
            denoiser, encoder = self.base()
            styling.add(denoiser)
            lesson = self._lesson("ukiyoe", captioners.english, style="print", learns=styling.is_lora)
            learn(denoiser, encoder, lesson, "ukiyoe")
            return styling.layers(denoiser)

        return self._kept("lora", make)

    def judge(self) -> Judge:
        """Return the judge."""
        judge = Judge()

        def make() -> State:
            pixels, classes = judging_data.lessons(self)
            train(judge, pixels, classes, recipes.JUDGE_STEPS)
            return judge.state_dict()

        judge.load_state_dict(self._kept("judge", make))
        return judge.eval().requires_grad_(False)

    def _kept(self, name: str, make: Callable[[], T]) -> T:
        file = self.work / f"{name}.pt"
        if not file.exists():
            torch.save(make(), file)
        return torch.load(file)
