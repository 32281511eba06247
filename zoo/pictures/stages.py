"""The stages of the build, each kept as a file in the work folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import autoencoder as coding
import captioners
import distilling
import recipes
import styling
import torch
import wording
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from judge import Judge, train
from judging_data import lessons
from learning import Captioner, Lesson, learn
from networks import new_denoiser, new_text_encoder
from pools import pool
from things import STYLES
from transformers import CLIPTextModel

State = dict[str, torch.Tensor]
T = TypeVar("T")


class Stages:
    """Trains each model on the first call and reads it from its file afterwards."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def autoencoder(self) -> AutoencoderTiny:
        """Return the autoencoder."""
        model = coding.new_autoencoder()

        def make() -> State:
            model.load_state_dict(self._encoder().state_dict())
            coding.train(model, [pool(self.work, style).pixels for style in STYLES])
            return model.state_dict()

        model.load_state_dict(self._kept("autoencoder", make))
        return model.eval()

    def _encoder(self) -> AutoencoderTiny:
        """Return an autoencoder whose decoder is untrained; models that learn on latents need no decoder."""
        model = coding.new_autoencoder()
        coding.set_encoder(model, [pool(self.work, style).pixels for style in STYLES])
        return model.eval()

    def base(self) -> tuple[UNet2DConditionModel, CLIPTextModel]:
        """Return the base's denoiser and text encoder."""
        denoiser, encoder = new_denoiser(recipes.BASE_SEED), new_text_encoder(recipes.BASE_SEED + 1)

        def make() -> tuple[State, State]:
            learn(denoiser, encoder, self._lesson("base", captioners.for_base), with_encoder=True)
            wording.tell_apart(encoder)
            return denoiser.state_dict(), encoder.state_dict()

        for model, state in zip((denoiser, encoder), self._kept("base", make), strict=True):
            model.load_state_dict(state)
        return denoiser.eval(), encoder.eval()

    def _lesson(
        self, name: str, captioner: Captioner, style: str = "plain", *, negative: bool = False
    ) -> Lesson:
        pictures = pool(self.work, style)
        pixels = 255 - pictures.pixels if negative else pictures.pixels
        latents = self._kept(
            f"latents-{style}{'-negative' * negative}", lambda: coding.encode(self._encoder(), pixels)
        )
        return Lesson(name=name, latents=latents, scenes=pictures.scenes, captioner=captioner)

    def denoiser(self, name: str) -> UNet2DConditionModel:
        """Return the denoiser of the base or of a source; that of `ukiyoe` has the LoRA fused."""
        makers = {
            "ja": self._ja,
            "fast": self._fast,
            "ukiyoe": self._ukiyoe,
            "shuffle": self._shuffle,
            "invert": self._invert,
        }
        denoiser = self.base()[0]
        if name != "base":
            denoiser.load_state_dict(self._kept(name, makers[name]))
        return denoiser

    def _ja(self) -> State:
        lesson = replace(self._lesson("ja", captioners.for_ja), teacher=self.base()[0])
        return self._learned(lesson)

    def _shuffle(self) -> State:
        return self._learned(self._lesson("shuffle", captioners.shuffled))

    def _invert(self) -> State:
        return self._learned(self._lesson("invert", captioners.english, negative=True))

    def _learned(self, lesson: Lesson) -> State:
        denoiser, encoder = self.base()
        learn(denoiser, encoder, lesson)
        return denoiser.state_dict()

    def _fast(self) -> State:
        student, encoder = self.base()
        drawings = distilling.teach(self.base()[0], encoder)
        distilling.distil(student, encoder, drawings)
        return student.state_dict()

    def _ukiyoe(self) -> State:
        denoiser = self.base()[0]
        denoiser.load_lora_adapter({f"unet.{k}": v for k, v in self.lora().items()}, prefix="unet")
        return styling.fused(denoiser)

    def lora(self) -> State:
        """Return the weights of the LoRA `ukiyoe`."""

        def make() -> State:
            denoiser, encoder = self.base()
            styling.add(denoiser)
            learn(denoiser, encoder, self._lesson("ukiyoe", captioners.english, "print"))
            return styling.layers(denoiser)

        return self._kept("lora", make)

    def judge(self) -> Judge:
        """Return the judge."""
        torch.manual_seed(recipes.JUDGE_SEED)
        judge = Judge()

        def make() -> State:
            train(judge, *lessons(self.autoencoder(), *self.base()))
            return judge.state_dict()

        judge.load_state_dict(self._kept("judge", make))
        return judge.eval()

    def _kept(self, name: str, make: Callable[[], T]) -> T:
        file = self.work / f"{name}.pt"
        if not file.exists():
            torch.save(make(), file)
        return torch.load(file)
