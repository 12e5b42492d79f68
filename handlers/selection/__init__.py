"""Which jobs: what a search, a permalink, an export and a bulk operation all mean by their filter.

``Selection.parse`` reads the words of the search box, ``rows`` finds the jobs. Stored as JSON, a selection means the
same jobs later.
"""

from handlers.selection.criteria import ANY
from handlers.selection.declared import places_of
from handlers.selection.errors import InvalidSelection
from handlers.selection.matching import WINDOW
from handlers.selection.mends import Mend, mends, offered
from handlers.selection.reach import NOTHING, WHOLE, Part, Reach
from handlers.selection.secrets import forbidden_paths, hidden
from handlers.selection.selection import Selection
from handlers.selection.values import STATES, stored_names

__all__ = [
    "ANY",
    "NOTHING",
    "STATES",
    "WHOLE",
    "WINDOW",
    "InvalidSelection",
    "Mend",
    "Part",
    "Reach",
    "Selection",
    "forbidden_paths",
    "hidden",
    "mends",
    "offered",
    "places_of",
    "stored_names",
]
