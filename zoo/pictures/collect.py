"""Copy the drawings of the motifs out of npm packages. Run once; the result is shipped.

npm pack @iconify-json/noto @iconify-json/noto-v1 @iconify-json/fluent-emoji-flat @iconify-json/twemoji \
    @iconify-json/emojione
python zoo/pictures/collect.py NOTO.tgz NOTO-V1.tgz FLUENT.tgz TWEMOJI.tgz EMOJIONE.tgz
"""

from __future__ import annotations

import json
import sys
import tarfile
from typing import Any

from pictures import DRAWINGS, JUDGE_SETS, SETS
from things import MOTIFS

NAMES = {
    "cat": "cat-face",
    "pig": "pig-face",
    "tree": "evergreen-tree",
    "apple": "red-apple",
    "car": "automobile",
}


def svg(icons: dict[str, Any], name: str) -> str:
    """Return an icon as an SVG file."""
    while name in icons.get("aliases", {}):
        name = icons["aliases"][name]["parent"]
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>\n'


def main() -> None:
    """Write the drawings of all sets."""
    for drawing_set, package in zip((*SETS, *JUDGE_SETS), sys.argv[1:], strict=True):
        with tarfile.open(package) as archive:
            icons = json.load(archive.extractfile("package/icons.json"))  # pyright: ignore[reportArgumentType]
        (DRAWINGS / drawing_set).mkdir(parents=True, exist_ok=True)
        for motif in MOTIFS:
            text = svg(icons, NAMES.get(motif.en, motif.en))
            (DRAWINGS / drawing_set / f"{motif.en}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
