"""What the engine's own job that sends an alert is called."""

from handlers.conf import ENGINE_TYPES

TYPE_NAME = f"{ENGINE_TYPES}SendAlert"
