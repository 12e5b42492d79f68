"""Which jobs: what a search, a permalink, an export and a bulk operation all mean by their filter.

``Selection.parse`` reads the words of the search box, ``rows`` finds the jobs. Stored as JSON, a selection means the
same jobs later.
"""

from handlers.selection.errors import InvalidSelection
from handlers.selection.matching import WINDOW
from handlers.selection.secrets import forbidden_paths, hidden
from handlers.selection.selection import Selection
from handlers.selection.values import STATES, stored_names

__all__ = ["STATES", "WINDOW", "InvalidSelection", "Selection", "forbidden_paths", "hidden", "stored_names"]
