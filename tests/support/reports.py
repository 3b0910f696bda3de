"""Reports with known content: a friendly one, and one whose every text is hostile."""

from __future__ import annotations

from dataclasses import replace

from gs_video_report.report.model import (
    Chapter,
    KeyTerm,
    MediaInfo,
    Notice,
    Provenance,
    Section,
    Segment,
    Slide,
    SummaryPoint,
    VideoReport,
    Word,
)

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(64)) + b"\xff\xd9"

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    "\"'`{{7*7}}{% raw %}[link](javascript:alert(1)) ![i](http://evil.example/i.png) "
    "https://evil.example www.evil.example a@evil.example #tag --> &lt; &copy; *b* _i_ ~~s~~ "
    "==m== $x$ <b>\x00\u202e|x|\n---\n# heading\n```\ncode"
)


def friendly(source: str = "../lectures/talk (1).mp4") -> VideoReport:
    """Five sentences in three chapters over 1:02:05, two slides, everything filled in."""
    spoken = ("A", "map", "has", "keys.")
    words = tuple(Word(2.5 + i / 2, 3.0 + i / 2, f" {w}") for i, w in enumerate(spoken))
    return VideoReport(
        media=MediaInfo(
            title="Hash tables: an introduction",
            file_name="talk (1).mp4",
            source=source,
            duration_s=3725.25,
            size_bytes=1_234_567,
            container="mp4",
            video_codec="h264",
            audio_codec="aac",
            width=1280,
            height=720,
            fps=25.0,
            audio_tracks=1,
            sha256="ab" * 32,
            metadata={"course": "CS 101", "date": "2026-03-02T09:00:00Z"},
        ),
        provenance=Provenance(
            engine="local",
            engine_version="1",
            asr_model="base",
            template="summary_report",
            template_version="1.0",
            tool_version="0.1.0",
            transcript_source="speech",
            run={"finished_at": "2026-03-04T10:11:12+00:00", "stage_s": {"probe": 0.1}},
        ),
        language="en",
        language_probability=0.98,
        segments=(
            Segment(0.0, 2.4, "Welcome to the course.", "Ada"),
            Segment(2.5, 4.5, "A map has keys.", "Ada", words, -0.2),
            Segment(5.0, 9.0, "Is that clear?", "Ben", (), -1.4, "清楚吗？"),
            Segment(3600.0, 3606.5, "One hour has passed.", "Ada"),
            Segment(3723.0, 3725.25, "Goodbye.", "Ada"),
        ),
        slides=(
            Slide(1.0, 3600.0, "talk.assets/slide-001.jpg", 1280, 720, "Keys\nand values", "Keys"),
            Slide(3600.0, 3725.25, "talk.assets/slide-002.jpg", 1280, 720, "", "", "camera"),
        ),
        chapters=(
            Chapter(0.0, 60.0, "Start", "What a map is."),
            Chapter(60.0, 3600.0, "Middle"),
            Chapter(3600.0, 3725.25, "End"),
        ),
        summary=(
            SummaryPoint("A map has keys.", 2.5),
            SummaryPoint("It is fast.", 5.0, "x", False),
        ),
        key_terms=(KeyTerm("map", 1.0, 3, 2.5), KeyTerm("key", 0.5, 1)),
        sections=(
            Section(
                "findings",
                "Main points",
                ("One paragraph.",),
                (SummaryPoint("Maps have keys.", 2.5, "A map has keys.", True),),
            ),
        ),
        notices=(
            Notice("homophones", "Check the names.", "info", 12.0, 13.0),
            Notice("not_done", "There is no translation.", "warning"),
        ),
        tags=("computer science", "2026"),
    )


def silent(source: str = "clip.mp4") -> VideoReport:
    """A recording without speech, slides or anything else."""
    media = MediaInfo("Silence", "clip.mp4", source, 0.0, 0)
    return VideoReport(media, Provenance("local", template="summary_report"))


def hostile(source: str = "talk.mp4") -> VideoReport:
    """Every text is `HOSTILE`."""
    good = friendly(source)
    return replace(
        good,
        media=replace(good.media, title=HOSTILE, file_name=HOSTILE, metadata={HOSTILE: HOSTILE}),
        provenance=replace(good.provenance, engine=HOSTILE, asr_model=HOSTILE),
        language='en" onload="x',
        segments=tuple(
            replace(s, text=HOSTILE, speaker=HOSTILE, translation=HOSTILE, words=())
            for s in good.segments
        ),
        slides=tuple(replace(s, text=HOSTILE, title=HOSTILE) for s in good.slides),
        chapters=tuple(replace(c, title=HOSTILE, summary=HOSTILE) for c in good.chapters),
        summary=tuple(replace(p, text=HOSTILE, quote=HOSTILE) for p in good.summary),
        key_terms=tuple(replace(k, term=HOSTILE) for k in good.key_terms),
        sections=tuple(
            replace(
                s,
                title=HOSTILE,
                paragraphs=(HOSTILE,),
                items=tuple(replace(i, text=HOSTILE, quote=HOSTILE) for i in s.items),
            )
            for s in good.sections
        ),
        notices=tuple(replace(n, message=HOSTILE) for n in good.notices),
        tags=(HOSTILE,),
    )
