"""What handlers return: JSON that fits the hint, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, get_type_hints

from handlers import payloads, sensitive
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob

NOTHING = (None, type(None), NoReturn)


class ResultShape:
    """What the handlers of one type may return. Raises InvalidJob for a hint that cannot be stored as JSON."""

    def __init__(self, type_name: str, function: Callable[..., Any], *, keep: bool) -> None:
        self._type_name = type_name
        self.hint = hint_of(function) if keep else None
        self.is_kept = self.hint not in NOTHING
        self.sensitive_fields: frozenset[str] = frozenset()
        if self.is_kept and self.hint is not Any:
            try:
                self.sensitive_fields = sensitive.paths(payloads.value_schema(self.hint))
            except InvalidJob as error:
                raise InvalidJob(
                    f"{type_name}: what its handler returns cannot be kept: {error}; or declare keep_result=False",
                    field="keep_result",
                ) from error

    def encode(self, value: Any) -> bytes | None:
        """``value`` as JSON; None when nothing is to be kept. Raises InvalidJob when it is none, or too large."""
        if value is None or not self.is_kept:
            return None
        return encode_bounded(
            value, self.hint, what=f"{self._type_name}: result", field="result",
            mend="store it elsewhere and return its id, raise JOBS['MAX_RESULT_BYTES'], or declare keep_result=False",
        )  # fmt: skip


def encode_bounded(value: Any, hint: Any, *, what: str, field: str, mend: str) -> bytes:
    """``value`` as JSON that fits ``hint``. Raises InvalidJob when it does not, or is larger than a result may be."""
    try:
        data = payloads.encode_value(value, hint, what=what)
    except InvalidJob as error:
        error.field = field
        raise
    if len(data) > (limit := jobs_settings().max_result_bytes):
        raise InvalidJob(
            f"{what}: takes {len(data):,} bytes as JSON, more than the limit of {limit:,}: {mend}", field=field
        )
    return data


def hint_of(function: Callable[..., Any]) -> Any:
    """What ``function`` says that it returns; Any where it says nothing, or nothing that can be read."""
    try:
        return get_type_hints(function, include_extras=True).get("return", Any)
    except Exception:  # noqa: BLE001 - a name that is only there for type checkers, or whatever an annotation raises
        return Any
