"""Alerts: rules that a scheduler looks after, an open incident for each thing that is wrong, and who is told of it.

A rule never is in the way of a job: it reads what is counted anyway, bounded, every few seconds.
"""

from handlers.alerts.edits import add_rule, change_rule, delete_rule, mute_rule, send_test, unmute_rule
from handlers.alerts.watching import watch

__all__ = ["add_rule", "change_rule", "delete_rule", "mute_rule", "send_test", "unmute_rule", "watch"]
