"""Where code is, in words: files, lines, functions and the source, and no values."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import FrameType


def in_words(frames: Sequence[FrameType]) -> str:
    """``frames``, the outermost first, as a traceback shows them. Never raises."""
    calls = [(frame, frame.f_lineno or 0) for frame in frames]
    try:
        return "".join(traceback.StackSummary.extract(iter(calls)).format())
    except Exception:  # noqa: BLE001 - the source of code that was made from text may have a name that is no file's
        return "".join(
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n' for frame, line in calls
        )
