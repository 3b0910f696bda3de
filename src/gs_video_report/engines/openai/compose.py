"""Let a chat model write the report's texts from transcript, slide texts and key frames.

Truth: every reply is a step of the journal (`conversation`).
Order: parts of the recording (map) -> one merged answer -> too long lists thinned out by number
(reduce) -> translation of the lines. A cut answer is continued, an unreadable one asked for once
more; what is still unusable then fails the task. A task that is run again after that asks anew: an
unusable answer in the journal is never the last word.
Never: changes the words or times of the transcript, counts a statement as proved by itself.
Raises: what `ChatClient` raises; PermanentError for a blocked or twice unreadable answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.llm import answer as answers
from gs_video_report.engines.llm import prompts, selection, translate
from gs_video_report.engines.llm import schema as schemas
from gs_video_report.engines.llm.answer import Answer, AnswerError
from gs_video_report.engines.llm.chunking import (
    Part,
    format_part,
    format_slides,
    split_parts,
    transcript_lines,
)
from gs_video_report.engines.llm.merge import Window, continue_answer, merge_answers
from gs_video_report.engines.llm.tokens import TOKENS_PER_IMAGE, estimate_messages, estimate_tokens
from gs_video_report.engines.openai.conversation import MAX_TRIES, Conversation
from gs_video_report.engines.openai.material import Material, Written
from gs_video_report.engines.openai.request import Picture, Request
from gs_video_report.errors import ArtifactMissing, FatalError, PermanentError
from gs_video_report.report.model import Slide
from gs_video_report.report.timefmt import clock_long
from gs_video_report.templates.loader import Template, render_prompt

WIDTH = 4
"""Requests of one task in flight."""
MAX_CONTINUATIONS = 3
TRANSLATION_ROUNDS = 3
MAX_BATCH_TOKENS = 2400
"""Of one translation request: models that write longer lists begin to lose lines."""
SLIDE_SHARE = 0.35
IMAGE_SHARE = 0.3
MARGIN_SHARE = 0.03
MARGIN_TOKENS = 48
MIN_ROOM_TOKENS = 200
MAX_PICTURE_BYTES = 4_000_000


@dataclass(slots=True)
class Composer:
    """One recording's conversation with a model."""

    talk: Conversation
    _done: int = 0
    _total: int = 0

    async def write(self, material: Material) -> Written:
        """Everything the template asks for. Nothing to read gives an empty answer, no request."""
        template = self.talk.ctx.template
        if material.is_empty and not (self.talk.model.vision and material.slides):
            return Written()
        schema = _schema(template)
        parts, room = self._parts(material, schema)
        batches = self._batches(material)
        self._total = len(parts) + len(batches)
        self.talk.ctx.progress("compose", 0, self._total)
        asked = [self._part(material, part, len(parts), room, schema) for part in parts]
        written = Written(parts=len(parts), pictures=sum(len(a.keys) for a in asked))
        found = await bounded((self._answered(a) for a in asked), limit=WIDTH)
        windows = [Window(part.start_s, part.end_s) for part in parts]
        merged = merge_answers(found, windows)
        written.answer = await self._selected(merged, material) if len(parts) > 1 else merged
        written.translations = await self._translated(material, batches)
        return written

    def _tick(self) -> None:
        self._done += 1
        self.talk.ctx.progress("compose", min(self._done, self._total), self._total)

    # --- parts ----------------------------------------------------------------------------------

    def _parts(self, material: Material, schema: dict[str, Any]) -> tuple[tuple[Part, ...], int]:
        """Parts of the recording, and the tokens for transcript, slides and pictures of each."""
        room = self._room(material, schema)
        shown = sum(estimate_tokens(s.text) + 8 for s in material.slides if s.text)
        pictures = len(material.slides) * TOKENS_PER_IMAGE if self.talk.model.vision else 0
        reserve = min(shown, int(room * SLIDE_SHARE)) + min(pictures, int(room * IMAGE_SHARE))
        lines = transcript_lines(material.segments, (room - reserve) // 2)
        return split_parts(lines, room - reserve, material.duration_s), room

    def _room(self, material: Material, schema: dict[str, Any]) -> int:
        empty = Part(1, 0.0, material.duration_s, ())
        system, user = self._texts(material, empty, 99, schema, "", "")
        overhead = estimate_messages([system, user]) + estimate_tokens(_compact(schema))
        context = self.talk.model.context_tokens
        margin = MARGIN_TOKENS + int(context * MARGIN_SHARE)
        room = context - self.talk.model.answer_tokens - overhead - margin
        if room < MIN_ROOM_TOKENS:
            raise FatalError(
                f"the context of {self.talk.model.name} ({context} tokens) is too small for the "
                f"template {self.talk.ctx.template.name}",
                hint="use a model that reads more, or tell its real limit: openai.context_tokens",
            )
        return room

    def _part(
        self, material: Material, part: Part, parts: int, room: int, schema: dict[str, Any]
    ) -> _Asked:
        slides = [s for s in material.slides if part.holds(s.t_s) or parts == 1]
        spoken = format_part(part)
        left = room - estimate_tokens(spoken)
        keys = self._pictures(slides, left)
        text = format_slides(slides, max(0, left - len(keys) * TOKENS_PER_IMAGE))
        system, user = self._texts(material, part, parts, schema, spoken, text)
        request = Request(
            self.talk.model.name, system, (("user", user),), self.talk.model.answer_tokens, schema
        )
        return _Asked(part.number, request, tuple(keys))

    def _pictures(self, slides: Sequence[Slide], room: int) -> list[tuple[float, str]]:
        """(time, key) of the key frames to send, evenly chosen."""
        if not self.talk.model.vision:
            return []
        known = [(s.t_s, s.image_sha256) for s in slides if s.image_sha256]
        fit = max(0, int(room * 0.7)) // TOKENS_PER_IMAGE
        count = min(len(known), self.talk.client.options.max_images, fit)
        return [known[n * len(known) // count] for n in range(count)]

    def _texts(
        self,
        material: Material,
        part: Part,
        parts: int,
        schema: dict[str, Any],
        spoken: str,
        shown: str,
    ) -> tuple[str, str]:
        """System and user text of one request."""
        template = _promptable(self.talk.ctx.template)
        user = render_prompt(
            template,
            {
                "title": material.title,
                "file_name": material.file_name,
                "duration": clock_long(material.duration_s),
                "language": material.language,
                "mode": "text",
                "transcript": spoken,
                "slides": shown,
                "chapters": _chapter_lines(material),
                "part": part.number,
                "parts": parts,
                "part_start": clock_long(part.start_s),
                "part_end": clock_long(part.end_s),
                "response_schema": _compact(schema),
                "metadata": material.metadata,
            },
        )
        if "transcript" not in template.prompt:
            user += "\n\n" + prompts.material(spoken, shown)
        if schemas.asks_for(answers.schema_of(template), "segments"):
            user += "\n\n" + prompts.NO_SEGMENTS
        if "response_schema" not in template.prompt:
            user += "\n\n" + prompts.form(_compact(schema))
        return template.system_prompt.strip(), user

    async def _answered(self, asked: _Asked) -> Answer:
        """The readable answer for one part, its continuations joined."""
        pictures = await self._loaded(asked.keys)
        request = replace(asked.request, pictures=pictures)
        answer, request = await self._readable(asked, request)
        for number in range(1, MAX_CONTINUATIONS + 1):
            if answer.complete:
                break
            more = await self._continued(asked, request, answer, number)
            if more is None:
                break
            answer = more
        self._tick()
        return answer

    async def _readable(self, asked: _Asked, request: Request) -> tuple[Answer, Request]:
        """First answer that can be read; one more try with more room, then PermanentError.

        Answers of an earlier run count as tries, but at least one is asked for now.
        """
        extra: dict[str, Any] = {}
        if asked.keys:
            extra["images"] = [key for _, key in asked.keys]
        for number in range(1, MAX_TRIES + 1):
            again = {"try": number} if number > 1 else {}
            reply, is_new = await self.talk.reply("compose", asked.number, request, extra | again)
            try:
                return self._read(reply, request), request
            except AnswerError as error:
                problem = error
            if number == 1:
                request = self._once_more(request)
            elif is_new:
                break
        times = "twice" if number == 2 else f"{number} times"
        raise PermanentError(
            f"{problem}, {times} ({request.model} at {self.talk.client.options.host})",
            hint="use a larger model, or allow longer answers: openai.max_tokens",
        ) from problem

    def _once_more(self, request: Request) -> Request:
        limit = max(request.max_tokens, self.talk.model.context_tokens // 2 - request.tokens_in)
        longer = min(request.max_tokens * 2, limit)
        role, text = request.turns[0]
        turns = ((role, f"{text}\n\n{prompts.MALFORMED}"),)
        return replace(request, turns=turns, max_tokens=longer)

    def _read(self, reply: dict[str, Any], request: Request) -> Answer:
        found = answers.parse_answer(reply["text"], self.talk.ctx.template, request.schema)
        return replace(found, segments=())  # the transcript is ours, whatever was sent back

    async def _continued(
        self, asked: _Asked, request: Request, done: Answer, number: int
    ) -> Answer | None:
        """`done` with what was still missing; None when nothing more comes."""
        role, text = request.turns[0]
        turns = ((role, f"{text}\n\n{prompts.continuation(done)}"),)
        extra: dict[str, Any] = {"continue": number}
        if asked.keys:
            extra["images"] = [key for _, key in asked.keys]
        reply = await self.talk.ask("compose", asked.number, replace(request, turns=turns), extra)
        try:
            more = self._read(reply, request)
        except AnswerError:
            return None
        joined = continue_answer(done, more)
        grown = _size(joined) > _size(done)
        return joined if grown or joined.complete else None

    async def _loaded(self, keys: Sequence[tuple[float, str]]) -> tuple[Picture, ...]:
        def load() -> list[Picture]:
            found = []
            for t_s, key in keys:
                data = self.talk.ctx.cache.path(key).read_bytes()
                if len(data) <= MAX_PICTURE_BYTES:
                    found.append(Picture(f"Picture shown from {clock_long(t_s)}:", data))
            return found

        try:
            return tuple(await asyncio.to_thread(load))
        except FileNotFoundError as error:
            raise ArtifactMissing("a key frame is gone from the cache") from error

    # --- the whole ------------------------------------------------------------------------------

    async def _selected(self, merged: Answer, material: Material) -> Answer:
        """The merged lists thinned out; a request that fails to choose changes nothing."""
        room = self.talk.model.context_tokens - selection.ANSWER_TOKENS - 400
        kept: dict[str, tuple[int, ...]] = {}
        groups = selection.bundles(selection.choices(merged, self.talk.ctx.template), room)
        for number, group in enumerate(groups):
            lists = [(c.key, c.description, c.texts) for c in group]
            request = Request(
                self.talk.model.name,
                prompts.selection_system(),
                (("user", prompts.selection_user(material.title, lists)),),
                min(selection.ANSWER_TOKENS, self.talk.model.answer_tokens),
                selection.SCHEMA,
            )
            reply = await self.talk.ask("select", number, request)
            kept |= selection.parse(reply["text"], group)
        return selection.apply(merged, kept)

    # --- translation ----------------------------------------------------------------------------

    def needs_translation(self, material: Material) -> bool:
        """Whether readers of the template's language need the lines translated."""
        target = self.talk.ctx.template.language
        if target == "source" or not material.segments:
            return False
        return not prompts.same_language(material.language, target)

    def _batch_tokens(self) -> int:
        model = self.talk.model
        return min(int(model.answer_tokens * 0.8), model.context_tokens // 4, MAX_BATCH_TOKENS)

    def _batches(self, material: Material) -> tuple[translate.Batch, ...]:
        if not self.needs_translation(material):
            return ()
        return translate.plan(material.segments, self._batch_tokens())

    async def _translated(
        self, material: Material, batches: Sequence[translate.Batch]
    ) -> dict[int, str]:
        """Number -> translation; lines that did not come back are asked for again."""
        done: dict[int, str] = {}
        for round_ in range(1, TRANSLATION_ROUNDS + 1):
            work = (self._batch(material, n, b, round_) for n, b in enumerate(batches))
            for found in await bounded(work, limit=WIDTH):
                for number, text in found.items():
                    done.setdefault(number, text)
            batches = translate.plan_missing(material.segments, done, self._batch_tokens())
            if not self.needs_translation(material) or not batches:
                break
        return done

    async def _batch(
        self, material: Material, number: int, batch: translate.Batch, round_: int
    ) -> dict[int, str]:
        system = prompts.translation_system(self.talk.ctx.template.language)
        user = prompts.translation_user(material.title, batch.before, batch.lines)
        tokens = min(self.talk.model.answer_tokens, max(256, round(batch.answer_tokens * 1.25)))
        request = Request(self.talk.model.name, system, (("user", user),), tokens, translate.SCHEMA)
        reply = await self.talk.ask("translate", number, request, {"round": round_})
        if round_ == 1:
            self._tick()
        return translate.parse(reply["text"], batch)


@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    request: Request
    """Without its pictures, which are loaded when it is sent."""
    keys: tuple[tuple[float, str], ...] = ()


def _schema(template: Template) -> dict[str, Any]:
    """What is asked for: the transcript is there already."""
    return schemas.without(answers.schema_of(template), "segments", "language")


def _promptable(template: Template) -> Template:
    return template if template.prompt.strip() else replace(template, prompt=prompts.DEFAULT_PROMPT)


def _chapter_lines(material: Material) -> str:
    return "\n".join(f"[{clock_long(start)}] {title}" for start, _, title in material.chapters)


def _size(answer: Answer) -> int:
    items = sum(len(section.items) for section in answer.sections)
    return len(answer.summary) + len(answer.chapters) + len(answer.key_terms) + items


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
