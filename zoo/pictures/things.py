"""What a picture can show: a motif, once or twice, on a ground of one colour. Names in both languages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Motif:
    """A motif: its English singular and plural, its Japanese word and the counter for it."""

    en: str
    plural: str
    ja: str
    counter: str


@dataclass(frozen=True)
class Colour:
    """A colour of the ground: its English word, Japanese adjective, paint and print ink."""

    en: str
    ja: str
    paint: tuple[int, int, int]
    ink: tuple[int, int, int]


MOTIFS = (
    Motif("cat", "cats", "猫", "匹"),
    Motif("frog", "frogs", "蛙", "匹"),
    Motif("panda", "pandas", "パンダ", "頭"),
    Motif("penguin", "penguins", "ペンギン", "羽"),
    Motif("pig", "pigs", "豚", "頭"),
    Motif("crab", "crabs", "蟹", "匹"),
    Motif("fish", "fish", "魚", "匹"),
    Motif("tulip", "tulips", "チューリップ", "本"),
    Motif("sunflower", "sunflowers", "ひまわり", "本"),
    Motif("mushroom", "mushrooms", "きのこ", "本"),
    Motif("tree", "trees", "木", "本"),
    Motif("apple", "apples", "りんご", "個"),
    Motif("watermelon", "watermelons", "スイカ", "個"),
    Motif("umbrella", "umbrellas", "傘", "本"),
    Motif("car", "cars", "車", "台"),
    Motif("star", "stars", "星", "つ"),
)
COLOURS = (
    Colour("red", "赤い", (228, 104, 98), (196, 84, 62)),
    Colour("yellow", "黄色い", (246, 214, 104), (216, 174, 84)),
    Colour("green", "緑の", (112, 188, 116), (122, 142, 88)),
    Colour("blue", "青い", (98, 146, 226), (78, 104, 148)),
    Colour("purple", "紫の", (164, 116, 202), (134, 98, 132)),
    Colour("white", "白い", (246, 246, 242), (232, 220, 190)),
)
NUMBERS = (1, 2)
STYLES = ("plain", "print")
KANJI = {1: "一", 2: "二"}
EN_NUMBERS = {1: "one", 2: "two"}


@dataclass(frozen=True)
class Scene:
    """A motif and a colour, by index, and the number of copies."""

    motif: int
    colour: int
    number: int


SCENES = tuple(Scene(m, c, n) for m in range(len(MOTIFS)) for c in range(len(COLOURS)) for n in NUMBERS)


def unseen(scene: Scene) -> bool:
    """Return whether no model learns this pair of motif and colour in Japanese; two colours a motif."""
    return (scene.motif + scene.colour) % 3 == 0


def for_test(scene: Scene) -> bool:
    """Return whether a pair is for the test split; the motif's other unseen pair is for the others."""
    return unseen(scene) and (scene.colour < 3) == (scene.motif % 2 == 0)


SEEN = tuple(scene for scene in SCENES if not unseen(scene))
FIT = tuple(scene for scene in SCENES if unseen(scene) and not for_test(scene))
TEST = tuple(scene for scene in SCENES if for_test(scene))
