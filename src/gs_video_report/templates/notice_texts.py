"""The sentences of notices in the language of a report's furniture.

Truth: a notice's own message is English and stays so in the JSON; here is what a reader of a
Chinese report sees instead. `{words}` stand for what changes from report to report and are taken
over as they are. A sentence that is not known here is shown as it is.
Pure.
"""

from __future__ import annotations

import re
from functools import cache

from gs_video_report.templates.labels import ui_language

ZH: dict[str, str] = {
    "The recording has no audio track, so there is no transcript.": (
        "录像没有音轨，因此没有逐字稿。"
    ),
    "The recording has no pictures, so there are no slides.": "录像没有画面，因此没有幻灯片。",
    "The recording has {n} audio tracks; the transcript is of the default one.": (
        "录像有 {n} 条音轨；逐字稿取自默认音轨。"
    ),
    "The transcript is taken from the subtitle file {name}, not from speech recognition.": (
        "逐字稿取自字幕文件 {name}，而非语音识别。"
    ),
    "The transcript is taken from the subtitles inside the recording, not from speech "
    "recognition.": "逐字稿取自录像内的字幕，而非语音识别。",
    "The sound could not be decoded ({why}), so there is no transcript.": (
        "声音无法解码（{why}），因此没有逐字稿。"
    ),
    "The pictures could not be decoded ({why}), so there are no slides.": (
        "画面无法解码（{why}），因此没有幻灯片。"
    ),
    "No speech was found in the sound of this recording.": "这段录像的声音中没有发现语音。",
    "No understandable speech was found in this recording.": "这段录像中没有听得懂的语音。",
    "The recording is cut short: {there} of {declared} seconds of sound are there.": (
        "录像不完整：{declared} 秒声音中只有 {there} 秒。"
    ),
    "The sound is damaged: {n} packets could not be decoded, {missing} seconds are missing and "
    "were taken as silence.": "声音有损坏：{n} 个数据包无法解码，缺少 {missing} 秒，按静音处理。",
    "Speech recognition of Chinese with this model mixes up words that sound alike; check names "
    "and terms.": "此模型识别中文时会混淆同音词；请核对人名和术语。",
    "The spoken language was guessed as {language} with little certainty ({percent}); give it "
    "with --language.": "语音语言推测为 {language}，把握不大（{percent}）；可用 --language 指定。",
    "The speech is hard to understand: {weak} of {all} passages are uncertain.": (
        "语音难以听清：{all} 段中有 {weak} 段不确定。"
    ),
    "Not done by the local engine: {what}. The transcript is in the spoken language. To get these "
    "parts, process the recording with --engine gemini or --engine openai.": (
        "本地引擎未做：{what}。逐字稿为原语音的语言。要得到这些部分，请用 --engine gemini 或 "
        "--engine openai 处理录像。"
    ),
    "The pictures are damaged: 1 damaged place could not be decoded and were skipped.": (
        "画面有损坏：有 1 处无法解码，已跳过。"
    ),
    "The pictures are damaged: {n} damaged places could not be decoded and were skipped.": (
        "画面有损坏：有 {n} 处无法解码，已跳过。"
    ),
    "The pictures end early: {there} of {declared} seconds are there.": (
        "画面提前结束：{declared} 秒中只有 {there} 秒。"
    ),
    "Transcript and statements were written by the model {model}.": (
        "逐字稿和各项陈述由模型 {model} 写成。"
    ),
    "The model found no speech in this recording.": "模型在这段录像中没有发现语音。",
    "{missing} of {total} statements give no quote that occurs in the transcript or on a slide; "
    "they are marked.": (
        "{total} 条陈述中有 {missing} 条的引文在逐字稿和幻灯片中都找不到；已作标记。"
    ),
    "The price of the model {model} is not known, so no cost is given.": (
        "模型 {model} 的价格未知，因此没有给出费用。"
    ),
    "There are no slides: the packages that find them are not installed.": (
        "没有幻灯片：未安装用于查找幻灯片的软件包。"
    ),
    "There are no slides: {why}.": "没有幻灯片：{why}。",
    "The service refuses to answer about {start} to {end} ({why}).": (
        "服务拒绝回答 {start} 至 {end} 的内容（{why}）。"
    ),
    "The model stopped again and again; {start} to {end} may be missing.": (
        "模型一再中断；{start} 至 {end} 可能缺失。"
    ),
    "Nothing was said or shown that {model} could use.": "没有可供 {model} 使用的语音或画面文字。",
    "The price of {model} is not known; no cost is counted.": "{model} 的价格未知；不计费用。",
    "{missing} of {lines} lines were not translated into {language}.": (
        "{lines} 行中有 {missing} 行没有译成 {language}。"
    ),
    "The transcript was translated into {language} by {model}.": (
        "逐字稿由 {model} 译成 {language}。"
    ),
    "Not done by the openai engine, which keeps the transcript: {what}.": (
        "openai 引擎保留原逐字稿，未做：{what}。"
    ),
    "The quotes of {unproved} of {total} statements were not found in the recording; these "
    "statements are marked as unproved.": (
        "{total} 条陈述中有 {unproved} 条的引文在录像中找不到；已标为无依据。"
    ),
    "The answer of {model} was cut off; some lists may be incomplete.": (
        "{model} 的回答被截断；有些列表可能不完整。"
    ),
    "The speech was recognised by {model} at {host}.": "语音由 {host} 上的 {model} 识别。",
}
"""English sentence with `{words}` -> Chinese sentence with the same words."""

ZH_PARTS: dict[str, str] = {
    "translation into Chinese": "译成中文",
    "corrected names and technical terms": "校正人名和术语",
}
"""What the shipped templates ask of a language model, as it occurs in `{what}`."""

_WORD = re.compile(r"\\\{(\w+)\\\}")


def notice_text(message: str, language: str) -> str:
    """The message for readers of a report whose template's language is `language`."""
    if ui_language(language) != "zh":
        return message
    for pattern, text in _patterns():
        if found := pattern.fullmatch(message):
            words = found.groupdict()
            if "what" in words:
                words["what"] = "、".join(ZH_PARTS.get(w, w) for w in words["what"].split(", "))
            return text.format(**words)
    return message


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile(_WORD.sub(r"(?P<\1>.+?)", re.escape(english)), re.DOTALL), chinese)
        for english, chinese in ZH.items()
    )
