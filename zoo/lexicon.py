"""The words of the zoo: names, things, verbs and sentence patterns, in Japanese and English side by side.

Japanese entries are written with spaces between words, so that the tokenizer learns whole words; the spaces
are removed when text is made. Knows nothing about numbers, models or files.
"""

from __future__ import annotations

from typing import NamedTuple


class Thing(NamedTuple):
    """Something that can be counted: its Japanese name and counter, and its English plural."""

    ja: str
    counter: str
    en: str


class Pair(NamedTuple):
    """One meaning in two languages."""

    ja: str
    en: str


THINGS = (
    Thing("りんご", "個", "apples"),
    Thing("みかん", "個", "oranges"),
    Thing("卵", "個", "eggs"),
    Thing("石", "個", "stones"),
    Thing("ボール", "個", "balls"),
    Thing("帽子", "個", "hats"),
    Thing("本", "冊", "books"),
    Thing("ノート", "冊", "notebooks"),
    Thing("鉛筆", "本", "pencils"),
    Thing("花", "本", "flowers"),
    Thing("切手", "枚", "stamps"),
    Thing("カード", "枚", "cards"),
    Thing("皿", "枚", "plates"),
    Thing("写真", "枚", "photos"),
    Thing("コイン", "枚", "coins"),
    Thing("魚", "匹", "fish"),
)
NAMES = (
    Pair("太郎", "Taro"),
    Pair("花子", "Hanako"),
    Pair("健太", "Kenta"),
    Pair("由美", "Yumi"),
    Pair("さくら", "Sakura"),
    Pair("直樹", "Naoki"),
    Pair("トム", "Tom"),
    Pair("メアリー", "Mary"),
    Pair("アンナ", "Anna"),
    Pair("リサ", "Lisa"),
    Pair("ジョン", "John"),
    Pair("先生", "Sensei"),
)
GAINS = (
    Pair("もらいました", "got"),
    Pair("買いました", "bought"),
    Pair("見つけました", "found"),
    Pair("拾いました", "picked up"),
    Pair("集めました", "collected"),
)
LOSSES = (
    Pair("あげました", "gave away"),
    Pair("なくしました", "lost"),
    Pair("売りました", "sold"),
    Pair("使いました", "used"),
    Pair("捨てました", "threw away"),
)
CONTAINERS = (
    Pair("箱", "boxes"),
    Pair("袋", "bags"),
    Pair("かご", "baskets"),
    Pair("棚", "shelves"),
)
LINKS = (
    Pair("そのあと", "Then"),
    Pair("次の日", "The next day"),
    Pair("夕方", "In the evening"),
)

# Patterns of word problems: {n} {m} people, {o} thing, {c} counter, {a} {b} {d} numbers, {k} container,
# {v} verb, {l} link.
HAS = Pair("{n} は {o} を {a} {c} 持っています 。", "{n} has {a} {o}.")
FIRST = Pair("{n} は {b} {c} {v} 。", "{n} {v} {b}.")
LATER = Pair("{l} {n} は {d} {c} {v} 。", "{l} {n} {v} {d}.")
GROUPS = (
    Pair(
        "{k} が {a} つ あります 。 どの {k} にも {o} が {b} {c} 入っています 。",
        "There are {a} {k}. There are {b} {o} in each of them.",
    ),
    Pair(
        "{n} は {k} を {a} つ 持っています 。 {o} が {b} {c} ずつ 入っています 。",
        "{n} has {a} {k}. Each of them holds {b} {o}.",
    ),
)
TIMES = Pair("{l} {o} の 数 は {d} 倍 に なりました 。", "{l} the number of {o} became {d} times as large.")
MORE = Pair("{m} は {n} より {b} {c} 多く 持っています 。", "{m} has {b} more than {n}.")
FEWER = Pair("{m} は {n} より {b} {c} 少なく 持っています 。", "{m} has {b} fewer than {n}.")
ASK_NOW = (
    Pair("{o} は 今 何 {c} ありますか 。", "How many {o} are there now?"),
    Pair("{o} は 全部 で 何 {c} に なりましたか 。", "How many {o} are there in the end?"),
)
ASK_BOTH = (
    Pair("二人 合わせて 何 {c} ですか 。", "How many do they have together?"),
    Pair("{o} は 二人 で 何 {c} ありますか 。", "How many {o} do the two have?"),
)
ANSWER = Pair("答え は {r} {c} です 。", "The answer is {r} {o}.")

# Patterns of everyday text: {n} {m} people, {o} thing, {p} place, {w} weather, {t} time, {f} feeling.
PLACES = (
    Pair("公園", "the park"),
    Pair("学校", "school"),
    Pair("駅", "the station"),
    Pair("海", "the sea"),
    Pair("山", "the mountain"),
    Pair("図書館", "the library"),
    Pair("店", "the shop"),
    Pair("庭", "the garden"),
)
WEATHERS = (Pair("晴れ", "sunny"), Pair("雨", "rainy"), Pair("雪", "snowy"), Pair("曇り", "cloudy"))
TIMES_OF_DAY = (
    Pair("今日", "today"),
    Pair("昨日", "yesterday"),
    Pair("朝", "in the morning"),
    Pair("夜", "at night"),
)
FEELINGS = (
    Pair("楽しい", "happy"),
    Pair("悲しい", "sad"),
    Pair("眠い", "sleepy"),
    Pair("忙しい", "busy"),
    Pair("静か", "quiet"),
)
SENTENCES = (
    Pair("{t} {n} は {p} へ 行きました 。", "{n} went to {p} {t}."),
    Pair("{t} {n} は {p} で {o} を 見ました 。", "{n} saw {o} at {p} {t}."),
    Pair("{n} は {o} が 好き です 。", "{n} likes {o}."),
    Pair("{n} と {m} は {p} で 会いました 。", "{n} and {m} met at {p}."),
    Pair("{p} は {w} でした 。", "It was {w} at {p}."),
    Pair("{n} は 少し {f} です 。", "{n} is a little {f}."),
    Pair("{n} は {m} に {o} の 話 を しました 。", "{n} told {m} about {o}."),
    Pair("{p} に {o} は ありません 。", "There are no {o} at {p}."),
    Pair("{m} は {n} の {k} を 開けました 。", "{m} opened the {k} of {n}."),
)
TRANSLATE = Pair("日本語 に 訳して ください", "Translate into English")

POEM_LINES = (
    Pair("{p} に {w} の 風 が 歌う", "the {w} wind sings at {p}"),
    Pair("{o} は 夢 を 見る", "the {o} dream a dream"),
    Pair("月 の 光 が {p} に 落ちる", "the light of the moon falls on {p}"),
    Pair("{f} 心 は 空 を 飛ぶ", "a {f} heart flies in the sky"),
    Pair("ああ {n} の 声 が 遠い", "oh the voice of {n} is far"),
    Pair("{k} の 中 に 星 が 眠る", "a star sleeps in the {k}"),
)
POEM_ASK = Pair("{o} の 詩 を 書いて ください 。", "Write a poem about {o}.")
SORT_ASK = Pair("小さい 順 に 並べて ください", "Sort these numbers")
