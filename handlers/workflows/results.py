"""Arguments that are what another job of the workflow returns."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.payloads import unwrap

if TYPE_CHECKING:
    from handlers.workflows.flow import Node


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ResultOf:
    """Stands for what the job of ``node`` returns."""

    node: Node


def later_fields(job: object) -> Mapping[str, ResultOf]:
    """The fields of a job, or of the command in it, whose values come later."""
    inner = unwrap(job)
    cls: Any = type(inner)
    names = _fields(cls)
    return {name: value for name in names if isinstance(value := getattr(inner, name, None), ResultOf)}


@cache
def _fields(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()


def check_source(job_type: JobType, name: str, source: JobType) -> None:
    """Raise InvalidJob unless the field may be what ``source`` returns, as far as hints tell.

    What they do not tell is seen when the job is to run: its arguments then do not fit, and it fails with that reason.
    """
    if not source.result.is_kept:
        raise InvalidJob(
            f"{job_type.name}: {name}: {source.name} keeps no result: give its handler a return hint other than None,"
            " and no keep_result=False",
            field=name,
        )
    for path in sorted(source.result.sensitive_fields):
        whole = f"{name}.{path}" if path else name
        if not any(whole == marked or whole.startswith(f"{marked}.") for marked in job_type.sensitive_fields):
            what = path or "what it returns"
            raise InvalidJob(
                f"{job_type.name}: {name}: {source.name} marks {what} as Sensitive: mark {whole}, too",
                field=name,
            )
    hint = get_type_hints(job_type.payload_class, include_extras=True)[name]
    if not _fits(_plain(source.result.hint), _plain(hint)):
        raise InvalidJob(
            f"{job_type.name}: {name}: is {_named(hint)}, and {source.name} returns {_named(source.result.hint)}",
            field=name,
        )


def _fits(given: Any, wanted: Any) -> bool:
    if Any in (given, wanted) or given == wanted:
        return True
    if _is_union(given):
        # What may be None fits a field that may not: whether it is, only the run tells.
        return any(_fits(_plain(each), wanted) for each in get_args(given) if each is not type(None))
    if _is_union(wanted):
        return any(_fits(given, _plain(each)) for each in get_args(wanted))
    if (given, wanted) == (int, float):
        return True
    # Containers: by their kind, since what is in them may be written in many ways.
    return bool((get_origin(given) or given) == (get_origin(wanted) or wanted))


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
