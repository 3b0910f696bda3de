"""Several keys for one server: recordings spread over them, a spent or refused one rests.

True here: a key whose account is spent rests until the time the server told, or for an hour when
it told none; a refused one rests for the life of the process. The answers it was paid for stay
in the journal, so another key goes on where it stopped. The user's own limits are no key's fault.
People are told which one of several rests (`remarks`). A single one that is spent until a time
that the server told is not asked with by later processes before that time.
Never: shows a key, sends anything.
Raises: why no key may be used, once all of them rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gs_video_report.engines.base import Limiter, Remark
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.openai.options import Key, OpenAIOptions
from gs_video_report.engines.steps import digest
from gs_video_report.errors import AuthenticationError, GsvrError, LimitReached

REST = timedelta(hours=1)
"""Of a key whose account is spent, when the server does not tell until when."""


@dataclass(slots=True)
class KeyInUse:
    """One key with its connection, and why it rests, if it does."""

    client: ChatClient
    error: LimitReached | AuthenticationError | None = None
    rests_until: datetime | None = None
    """None with an error: for good."""
    spent_until: datetime | None = None
    """What an earlier process was told; the key comes last until then."""

    def is_usable(self, now: datetime) -> bool:
        """Whether it may be tried."""
        if self.rests_until is not None and now >= self.rests_until:
            self.error = self.rests_until = None
        return self.error is None

    def is_fresh(self, now: datetime) -> bool:
        """Whether no earlier process found it spent for now."""
        return self.spent_until is None or now >= self.spent_until


class KeyRing:
    """All keys of one engine; a server without keys has one that is none."""

    def __init__(self, options: OpenAIOptions, keys: Sequence[Key]) -> None:
        self._host, self._model = options.host, options.model
        self.remarks: list[Remark] = []
        self.keys = [KeyInUse(ChatClient(options, key)) for key in keys or (None,)]

    @property
    def has_key(self) -> bool:
        """Whether any key was given."""
        return self.keys[0].client.has_key

    def bucket(self, key: KeyInUse, model: str) -> str:
        """Name of the limiter's bucket: one per server, model and key."""
        return f"openai/{self._host}/{model}/{key.client.key_name}"

    def recall(self, spent: Mapping[str, datetime]) -> None:
        """See `engines.base.Recalling`."""
        for key in self.keys:
            key.spent_until = spent.get(self.bucket(key, self._model))

    def hold_back(self, limiter: Limiter, now: datetime | None = None) -> None:
        """Send nothing with a single key of which an earlier process was told that it is spent."""
        for key in self.keys if len(self.keys) == 1 else ():
            if key.spent_until is not None and not key.is_fresh(now or datetime.now(UTC)):
                limiter.exhaust(self.bucket(key, self._model), key.spent_until)

    def pick(self, fingerprint: str, now: datetime | None = None) -> KeyInUse:
        """The key for a recording, always the same one while it may be used.

        Highest random weight (Thaler and Ravishankar 1998). Raises: why no key may be used; of
        several reasons the one that ends first.
        """
        now = now or datetime.now(UTC)
        usable = [key for key in self.keys if key.is_usable(now)]
        if usable:
            usable = [key for key in usable if key.is_fresh(now)] or usable
            name = [(digest([fingerprint, k.client.key_name]), k) for k in usable]
            return max(name, key=lambda pair: pair[0])[1]
        errors = [key.error for key in self.keys if key.error is not None]
        limits = [error for error in errors if isinstance(error, LimitReached)]
        known = [error for error in limits if error.resume_at is not None]
        raise min(known, key=lambda e: str(e.resume_at)) if known else (limits or errors)[0]

    def set_aside(self, key: KeyInUse, error: GsvrError, now: datetime | None = None) -> bool:
        """Let `key` rest if `error` is its own; False when another key would not help."""
        if isinstance(error, AuthenticationError):
            self._tell(key, "key_refused", error)
            key.error, key.rests_until = error, None
            return True
        if not isinstance(error, LimitReached) or not is_of_key(error):
            return False
        told = error.resume_at
        until = (now or datetime.now(UTC)) + REST if told is None else datetime.fromisoformat(told)
        self._tell(key, "key_spent", error, until.isoformat())
        key.error, key.rests_until = error, until
        return True

    def _tell(self, key: KeyInUse, kind: str, error: GsvrError, until: str = "") -> None:
        """About one key of several, or that later runs leave a single one alone.

        A single one that is refused stops the batch, which tells it, and may be mended any time.
        """
        single = len(self.keys) < 2
        if key.error is not None or (single and not _is_window(key, error)):
            return
        number, name = self.keys.index(key) + 1, key.client.key_name
        text = f"openai: key {number} of {len(self.keys)} (id {name}) is set aside: {error.message}"
        if single:
            text = f"openai: the key (id {name}) is spent: it is not asked with before its reset"
        data = {
            "bucket": self.bucket(key, self._model), "reason": error.message, "until": until,
        }  # fmt: skip
        self.remarks.append(Remark(kind, text, data))


def _is_window(key: KeyInUse, error: GsvrError) -> bool:
    """Whether the server told until when its key is spent, and this process was told just now."""
    told = isinstance(error, LimitReached) and error.resume_at is not None
    return told and bool(error.data.get("of_key")) and key.client.has_key


def is_of_key(error: LimitReached) -> bool:
    """Whether a limit is one of the account or quota behind a key, not the user's own."""
    if error.is_budget:
        return False
    return error.resume_at is not None or bool(error.data.get("of_key"))
