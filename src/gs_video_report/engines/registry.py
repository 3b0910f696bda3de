"""Names of engines and how `auto` chooses. Imports an engine only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_video_report.engines.base import Engine, has_budget
from gs_video_report.errors import UsageError

ENGINES: tuple[str, ...] = ("local", "gemini", "openai")


def check_name(name: str) -> None:
    """Raise UsageError unless `name` is an engine (not `auto`)."""
    if name not in ENGINES:
        raise UsageError(
            f"unknown engine {name!r}",
            hint=f"engines of this version: {', '.join(('auto', *ENGINES))}",
        )


def make(
    name: str, options: Mapping[str, Any], key: Any = None, *, prices: Path | None = None
) -> Engine:
    """Create the engine `name` (not `auto`) with the fields of BatchOptions.

    Args:
        key: a `Secret`, or several of them to be used in this order; None = there is none.
        prices: the user's own table of prices.
    """
    check_name(name)
    if name == "gemini":
        from gs_video_report.engines.gemini.engine import GeminiEngine

        keys = () if key is None else tuple(key) if isinstance(key, (list, tuple)) else (key,)
        return GeminiEngine(
            options=options.get("engine_options"),
            keys=keys,
            user_prices=prices,
            watches_cost=has_budget(options),
        )
    if name == "openai":
        from gs_video_report.engines.llm.prices import load_prices
        from gs_video_report.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(options, key, prices=load_prices(prices))
    from gs_video_report.engines.local import LocalEngine

    return LocalEngine(
        asr_model=str(options.get("asr_model", "auto")),
        cache_root=str(options.get("cache_dir", "")),
    )
