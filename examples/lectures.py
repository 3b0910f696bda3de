"""The words and the look of the example lectures: plain data, no drawing, no sound.

Each lecture is a list of slides; each slide a list of steps. A step is one spoken sentence and,
optionally, the bullet that appears with it. Texts are our own and CC0 (see README.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One sentence of narration, and the bullet that appears when it starts."""

    say: str
    bullet: str = ""


@dataclass(frozen=True)
class Slide:
    """A slide: title, bullets through its steps, an optional drawing beside them."""

    title: str
    steps: tuple[Step, ...]
    subtitle: str = ""
    drawing: str = ""
    """`curve`, `buckets`, `halving`, `leaf`, or nothing."""


@dataclass(frozen=True)
class Lecture:
    """One example video."""

    path: str
    """Relative to the examples folder."""
    title: str
    language: str
    voice: str
    """`heart`, `kumo` or `mandarin`; see voices.py."""
    theme: str
    """`paper`, `ink` or `night`."""
    fade_s: float
    """Length of the cross-fade between slides; 0 is a hard cut."""
    slides: tuple[Slide, ...]
    speaker: bool = False
    """A moving speaker inset in the corner."""
    subtitles: bool = False
    """A sidecar .srt with the narration is written beside the video."""


SPACED_REPETITION = Lecture(
    path="week01/intro.mp4",
    title="Spaced Repetition",
    language="en",
    voice="heart",
    theme="paper",
    fade_s=0.5,
    slides=(
        Slide(
            "Spaced Repetition",
            (
                Step("Welcome to the first week."),
                Step(
                    "Today we look at spaced repetition, a simple way to remember what you learn."
                ),
            ),
            subtitle="Week 1: learning how to learn",
        ),
        Slide(
            "Why we forget",
            (
                Step(
                    "After one day, most people have lost more than half of what they read.",
                    "Memory fades fast at first",
                ),
                Step(
                    "The loss is steep at first, and then the curve becomes flat.",
                    "Then the curve becomes flat",
                ),
                Step("This picture is called the forgetting curve.", "The forgetting curve"),
            ),
            drawing="curve",
        ),
        Slide(
            "The idea",
            (
                Step(
                    "The idea is to review a fact just before you would forget it.",
                    "Review just before you forget",
                ),
                Step(
                    "Every successful review makes the memory stronger.",
                    "Each review makes memory stronger",
                ),
                Step(
                    "So the pause before the next review can be longer.",
                    "So the next pause can be longer",
                ),
                Step("In this way, a few minutes every day are enough."),
            ),
        ),
        Slide(
            "A simple schedule",
            (
                Step(
                    "A good schedule starts with one day, then three days, then one week.",
                    "1 day, 3 days, 1 week",
                ),
                Step(
                    "After that you wait two weeks, and finally a month.", "2 weeks, then 1 month"
                ),
                Step("If you fail, go back to the first step.", "Failed? Back to the first step"),
            ),
        ),
        Slide(
            "What to do today",
            (
                Step(
                    "Write ten small questions about this lesson, with one answer each.",
                    "Write ten small questions",
                ),
                Step(
                    "Answer them tomorrow without looking at your notes.",
                    "Answer them tomorrow, notes closed",
                ),
                Step("A stack of paper cards is enough, and many free programs can help."),
                Step("Thank you for watching, and see you next week."),
            ),
        ),
    ),
)

HASH_TABLES = Lecture(
    path="week02/intro.mp4",
    title="How a Hash Table Works",
    language="en",
    voice="kumo",
    theme="ink",
    fade_s=0.0,
    speaker=True,
    slides=(
        Slide(
            "How a Hash Table Works",
            (
                Step("Hello and welcome back."),
                Step(
                    "This week we open one of the most useful tools of programming, the hash table."
                ),
            ),
            subtitle="Week 2: data structures",
        ),
        Slide(
            "The problem",
            (
                Step(
                    "Imagine a phone book with a million names in no order.",
                    "One million names, no order",
                ),
                Step(
                    "Looking through all of them takes far too long.", "Looking at each one is slow"
                ),
                Step("We want to find a name in one single step.", "We want a single step"),
            ),
        ),
        Slide(
            "The hash function",
            (
                Step("A hash function turns a name into a number.", "A name becomes a number"),
                Step("The same name always gives the same number.", "Same name, same number"),
                Step("The number tells us in which bucket to look.", "The number picks a bucket"),
                Step("We open only this bucket, and all the others stay closed."),
            ),
            drawing="buckets",
        ),
        Slide(
            "Collisions",
            (
                Step("Sometimes two names land in the same bucket.", "Two names, one bucket"),
                Step("This is called a collision, and it is normal.", "Collisions are normal"),
                Step(
                    "We keep a short list in each bucket and compare the names.",
                    "Keep a short list and compare",
                ),
            ),
        ),
        Slide(
            "When the table is full",
            (
                Step(
                    "When the table becomes crowded, we make it twice as large.",
                    "Crowded? Make it twice as large",
                ),
                Step("Every name is then placed again.", "Every name is placed again"),
                Step(
                    "Finding a name stays fast, even with millions of entries.",
                    "Finding a name stays fast",
                ),
                Step("Next week we will write our own hash table together."),
            ),
        ),
    ),
)

PHOTOSYNTHESIS = Lecture(
    path="photosynthesis.mp4",
    title="Photosynthesis in One Minute",
    language="en",
    voice="heart",
    theme="paper",
    fade_s=0.0,
    subtitles=True,
    slides=(
        Slide(
            "Photosynthesis in One Minute",
            (Step("Plants make their own food. Here is how it works."),),
            subtitle="With subtitles beside the video",
        ),
        Slide(
            "What goes in",
            (
                Step("A leaf takes in water through the roots.", "Water from the roots"),
                Step("It takes in carbon dioxide from the air.", "Carbon dioxide from the air"),
                Step("And it catches the light of the sun.", "Light from the sun"),
            ),
            drawing="leaf",
        ),
        Slide(
            "What comes out",
            (
                Step("The plant builds sugar, which stores energy.", "Sugar, which stores energy"),
                Step("Oxygen is left over, and we can breathe it.", "Oxygen, which we breathe"),
            ),
        ),
    ),
)

BINARY_SEARCH = Lecture(
    path="week02/二分查找.mp4",
    title="二分查找",
    language="zh",
    voice="mandarin",
    theme="night",
    fade_s=0.0,
    slides=(
        Slide(
            "二分查找",
            (
                Step("大家好，欢迎来到今天的课程。"),
                Step("今天我们学习一个简单又快速的查找方法。"),
            ),
            subtitle="第二周：查找算法",
        ),
        Slide(
            "问题是什么",
            (
                Step("假如桌子上有一百张卡片，你想找到其中的一张。", "一百张卡片，找其中一张"),
                Step("如果从第一张开始慢慢看，需要很长的时间。", "从头开始看，时间很长"),
            ),
        ),
        Slide(
            "基本思想",
            (
                Step("我们先看中间的那张卡片。", "先看中间的卡片"),
                Step("如果它太大，我们就到左边去找。", "太大就到左边找"),
                Step("如果它太小，我们就到右边去找。", "太小就到右边找"),
            ),
            drawing="halving",
        ),
        Slide(
            "为什么这么快",
            (
                Step("每一次，我们都可以少看很多卡片。", "每次少看一半"),
                Step("所以，一百张卡片，最多只需要看七次。", "一百张卡片最多看七次"),
                Step("请记住，这些卡片必须从小到大放好。", "卡片必须从小到大放好"),
            ),
        ),
        Slide(
            "谢谢观看",
            (Step("谢谢大家的观看，我们下次再见。"),),
            subtitle="下一课：排序",
        ),
    ),
)

LECTURES = (SPACED_REPETITION, HASH_TABLES, PHOTOSYNTHESIS, BINARY_SEARCH)

CLIP_EN = Lecture(
    path="spoken_en_6s.mp4",
    title="Two Short Slides",
    language="en",
    voice="heart",
    theme="paper",
    fade_s=0.0,
    slides=(
        Slide(
            "Two Short Slides", (Step("The first slide is about the moon."),), subtitle="The moon"
        ),
        Slide("The Sea", (Step("The second slide is about the sea.", "Salt water and waves"),)),
    ),
)

CLIP_ZH = Lecture(
    path="spoken_zh_5s.mp4",
    title="两张幻灯片",
    language="zh",
    voice="mandarin",
    theme="paper",
    fade_s=0.0,
    slides=(
        Slide("两张幻灯片", (Step("大家好，今天天气很好。"),), subtitle="第一张"),
        Slide("学习中文", (Step("我们一起学习中文。", "我们一起学习"),)),
    ),
)

CLIPS = (CLIP_EN, CLIP_ZH)
