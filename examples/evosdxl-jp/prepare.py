"""Writes the data and the pipeline of this example, or of evo-ukiyoe.

    python examples/evosdxl-jp/prepare.py --out DIR
    python examples/evosdxl-jp/prepare.py --example evo-ukiyoe --out DIR

DIR then holds ``items.jsonl`` (Japanese captions), ``photos`` (what they describe), ``pipeline`` (SDXL with
the text encoder and tokenizer of Japanese SDXL), and the files of the example. ``pipeline`` links to files in
the cache of huggingface_hub, or has copies.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from huggingface_hub import snapshot_download

from kingyo.errors import KingyoError
from kingyo.tasks.rows import DatasetSource, read_rows

CAPTIONS = "floschne/xm3600_1k"
SDXL, JAPANESE = "stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/japanese-stable-diffusion-xl"
INDEX, CARD, HALF = "model_index.json", "README.md", ".fp16"
OF_SDXL = ("scheduler", "tokenizer_2", "text_encoder_2", "vae", "unet")
OF_JAPANESE = ("tokenizer", "text_encoder")


def main() -> None:
    """Write all files."""
    arguments = _arguments()
    out: Path = arguments.out
    (out / "photos").mkdir(parents=True, exist_ok=True)
    rows = list(_captions(arguments.captions, out / "photos"))
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (out / "items.jsonl").write_text(text, encoding="utf-8")
    _assemble(out / "pipeline", arguments.sdxl, arguments.japanese)
    for name in ("run.yaml", "recipe.yaml"):
        shutil.copy(Path(__file__).parents[1] / arguments.example / name, out)
    print(f"{out}: {len(rows)} captions, and a pipeline that reads Japanese")


def _captions(source: str, photos: Path) -> Iterator[dict[str, str]]:
    """Yield the first Japanese caption of each photo, after writing the photo."""
    for row in read_rows(DatasetSource(dataset=source, split="ja"), Path()):
        captions = cast("list[str]", row.columns["captions"])
        content = cast("Mapping[str, bytes]", row.columns["image"])["bytes"]
        suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
        (photos / f"{row.columns['image_id']}.{suffix}").write_bytes(content)
        yield {"caption": captions[0]}


def _assemble(folder: Path, sdxl: str, japanese: str) -> None:
    """Write a pipeline from the components of two, with weights in float16 under their plain names."""
    around, text = _found(sdxl, OF_SDXL), _found(japanese, OF_JAPANESE)
    for found, components in ((around, OF_SDXL), (text, OF_JAPANESE)):
        for name in components:
            _link(found / name, folder / name)
    index = json.loads((around / INDEX).read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8"))
    index["tokenizer"] = ["transformers", tokenizer.get("tokenizer_class") or index["tokenizer"][1]]
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    if (around / CARD).is_file():
        shutil.copy(around / CARD, folder)


def _found(source: str, components: Sequence[str]) -> Path:
    """Return the folder of a pipeline; from the Hub come only these components, in float16."""
    if Path(source).is_dir():
        return Path(source)
    kinds = ("*.json", "*.txt", "*.model", f"*{HALF}.safetensors")
    patterns = [INDEX, CARD, *(f"{name}/{kind}" for name in components for kind in kinds)]
    return Path(snapshot_download(source, allow_patterns=patterns))


def _link(source: Path, folder: Path) -> None:
    """Link the files of a component; of weights in two precisions those in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {file.name: file for file in source.iterdir() if file.is_file()}
    for name, file in files.items():
        if f"{Path(name).stem}{HALF}{Path(name).suffix}" in files:
            continue
        place = folder / name.replace(HALF, "")
        place.unlink(missing_ok=True)
        try:
            os.link(file.resolve(), place)
        except OSError:  # another file system
            shutil.copy(file, place)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--example", default="evosdxl-jp", choices=("evosdxl-jp", "evo-ukiyoe"))
    parser.add_argument("--captions", default=CAPTIONS, help=f"a data set, or a folder (default: {CAPTIONS})")
    parser.add_argument("--sdxl", default=SDXL, help=f"a pipeline, or a folder (default: {SDXL})")
    parser.add_argument("--japanese", default=JAPANESE, help=f"the same (default: {JAPANESE})")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KingyoError as error:
        sys.exit(f"Error: {error}")
