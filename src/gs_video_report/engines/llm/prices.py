"""What a model costs and how much it can read: a dated table that the user may overrule.

Truth: `prices.yaml` beside this file, then the user's file of the same form (model by model).
True here: a model that is not in the table has no price, which is not the same as costing
nothing; whoever asks must say so. Costs are computed from tokens, never from what a server claims.
Never: reaches the network. Dates are arguments; `today()` is for callers.
Raises: ConfigError for a file that cannot be read or understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from gs_video_report.errors import ConfigError

SHIPPED = Path(__file__).with_name("prices.yaml")
USER_FILE_NAME = "prices.yaml"
"""Name of the user's own table in the configuration folder."""
MAX_FILE_BYTES = 1 << 20
STANDARD = "standard"
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenUse:
    """What one request, or several, took."""

    tokens_in: int = 0
    """All input, cached and audio included."""
    tokens_out: int = 0
    """All output, thinking included."""
    cached_in: int = 0
    """Part of `tokens_in` that the service had cached."""
    audio_in: int = 0
    """Part of `tokens_in` that is sound."""
    audio_s: float = 0.0
    """Seconds of sound sent for transcription, where that is the unit of price."""


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens, for one length of request."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0
    cached: float | None = None
    """None: like other input."""
    audio: float | None = None
    """None: like other input."""
    per_second: float = 0.0
    """US dollars per second of sound."""

    def cost(self, use: TokenUse) -> float:
        """US dollars."""
        cached = min(use.cached_in, use.tokens_in)
        audio = min(use.audio_in, use.tokens_in - cached)
        plain = use.tokens_in - cached - audio
        total = (
            plain * self.tokens_in
            + cached * (self.tokens_in if self.cached is None else self.cached)
            + audio * (self.tokens_in if self.audio is None else self.audio)
            + use.tokens_out * self.tokens_out
        )
        return total / _MILLION + use.audio_s * self.per_second

    def times(self, factor: float) -> Rates:
        """All prices multiplied, except the one of sound."""
        return replace(
            self,
            tokens_in=self.tokens_in * factor,
            tokens_out=self.tokens_out * factor,
            cached=None if self.cached is None else self.cached * factor,
            audio=None if self.audio is None else self.audio * factor,
        )


@dataclass(frozen=True, slots=True)
class Period:
    """Prices up to a day."""

    rates: Rates
    until: date | None = None
    """Last day; None = open end."""
    above: int | None = None
    """Input tokens from which `long` holds for the whole request; None = never."""
    long: Rates | None = None


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """One model of the table."""

    model: str
    periods: tuple[Period, ...]
    context_tokens: int | None = None
    """Longest input; None = not known."""
    answer_tokens: int | None = None
    """Longest answer; None = not known."""
    vision: bool = False
    """Takes pictures."""
    tiers: Mapping[str, float] | None = None
    """Factor per tier: `batch`, `flex`, `priority`."""

    def rates(self, on: date, *, tokens_in: int = 0, tier: str = STANDARD) -> Rates:
        """Prices of a request with so many input tokens on a day.

        A tier that the table does not know costs the standard price: too high rather than too low.
        """
        period = next((p for p in self.periods if p.until is None or on <= p.until), None)
        if period is None:
            period = self.periods[-1]
        rates = period.rates
        if period.long is not None and period.above is not None and tokens_in > period.above:
            rates = period.long
        factor = 1.0 if tier == STANDARD else (self.tiers or {}).get(tier, 1.0)
        return rates.times(factor)

    def cost(self, use: TokenUse, on: date, *, tier: str = STANDARD) -> float:
        """US dollars of ONE request (the price may depend on its length)."""
        return self.rates(on, tokens_in=use.tokens_in, tier=tier).cost(use)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All known models."""

    models: Mapping[str, ModelPrice]
    as_of: date

    def find(self, model: str) -> ModelPrice | None:
        """The entry of `model`; dated and prefixed spellings count (`models/x`, `x-2026-10-13`,
        `vendor/x`, `x-001`). None when it is not in the table."""
        name = model.strip().lower().removeprefix("models/")
        for candidate in (name, name.rpartition("/")[2]):
            found = self.models.get(candidate) or self._dated(candidate)
            if found is not None:
                return found
        return None

    def _dated(self, name: str) -> ModelPrice | None:
        """`gpt-5.4-2026-03-05` is `gpt-5.4`; `gpt-5.4-mini` is not."""
        for known, price in self.models.items():
            rest = name.removeprefix(known)
            if rest != name and rest.startswith(("-", "@", ":")) and _is_version(rest[1:]):
                return price
        return None


def today() -> date:
    """The day whose prices hold, UTC; the one place here that reads a clock."""
    return datetime.now(UTC).date()


def flat_price(model: str, price_in: float, price_out: float) -> ModelPrice:
    """A price given by the user, USD per million tokens; it holds for everything."""
    return ModelPrice(model, (Period(Rates(price_in, price_out)),))


def with_prices(
    known: ModelPrice | None, model: str, price_in: float | None, price_out: float | None
) -> ModelPrice | None:
    """`known`, with the user's prices where given; context and vision stay known."""
    if price_in is None and price_out is None:
        return known
    own = flat_price(model, price_in or 0.0, price_out or 0.0)
    return own if known is None else replace(known, periods=own.periods)


def load_prices(user_file: Path | None = None) -> PriceTable:
    """The shipped table, with the entries of `user_file` over it; a missing file is no error.

    Raises: ConfigError.
    """
    table = _shipped()
    if user_file is None or not user_file.is_file():
        return table
    own = parse_prices(_read(user_file), str(user_file))
    return PriceTable({**table.models, **own.models}, max(table.as_of, own.as_of))


@lru_cache(maxsize=1)
def _shipped() -> PriceTable:
    return parse_prices(_read(SHIPPED), str(SHIPPED))


def parse_prices(data: bytes, path: str) -> PriceTable:
    """Read the bytes of a table. Raises: ConfigError, naming the file and the entry."""
    import yaml

    try:
        value = yaml.safe_load(data.decode("utf-8"))
        models: dict[str, ModelPrice] = {}
        for name, entry in dict(value["models"]).items():
            price = _model(str(name).lower(), entry, path)
            models |= dict.fromkeys([price.model, *map(str, entry.get("aliases", ()))], price)
        return PriceTable(models, _day(value["as_of"]))
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[:1] or [type(error).__name__]
        raise ConfigError(f"{path}: the table of prices is not valid: {reason[0]}") from error


_MODEL_KEYS = frozenset({"aliases", "context", "answer", "vision", "tiers", "prices"})
_RATE_KEYS = frozenset({"in", "out", "cached", "audio", "per_second"})
_PERIOD_KEYS = _RATE_KEYS | {"until", "above", "long"}


def _model(name: str, entry: Mapping[str, Any], path: str) -> ModelPrice:
    where = f"{path}: {name}"
    _refuse_unknown(entry, _MODEL_KEYS, where)
    periods = tuple(_period(p, where) for p in entry["prices"])
    if not periods:
        raise ConfigError(f"{where}: 'prices' is empty")
    return ModelPrice(
        model=name,
        periods=periods,
        context_tokens=_count(entry.get("context"), where),
        answer_tokens=_count(entry.get("answer"), where),
        vision=bool(entry.get("vision", False)),
        tiers={str(k): _amount(v, where) for k, v in dict(entry.get("tiers") or {}).items()},
    )


def _period(entry: Mapping[str, Any], where: str) -> Period:
    _refuse_unknown(entry, _PERIOD_KEYS, where)
    rates = _rates(entry, where, Rates())
    long = entry.get("long")
    return Period(
        rates=rates,
        until=_day(entry["until"]) if "until" in entry else None,
        above=_count(entry.get("above"), where),
        long=None if long is None else _rates(long, where, rates),
    )


def _rates(entry: Mapping[str, Any], where: str, base: Rates) -> Rates:
    """What `entry` does not name is that of `base`."""

    def amount(key: str, other: Any) -> Any:
        return _amount(entry[key], where) if key in entry else other

    return Rates(
        tokens_in=amount("in", base.tokens_in),
        tokens_out=amount("out", base.tokens_out),
        cached=amount("cached", base.cached),
        audio=amount("audio", base.audio),
        per_second=amount("per_second", base.per_second),
    )


def _refuse_unknown(entry: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


def _amount(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        raise ConfigError(f"{where}: {value!r} is not a price")
    return float(value)


def _count(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{where}: {value!r} is not a number of tokens")
    return value


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _is_version(text: str) -> bool:
    """`2026-10-13`, `20261013`, `001`, `latest`, `preview`."""
    return text in {"latest", "preview"} or text.replace("-", "").isdigit()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
