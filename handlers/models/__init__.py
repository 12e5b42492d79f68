"""The durable record: jobs, their arguments, history and errors, the queues' switches, the audit."""

from handlers.models.audit import AuditEntry
from handlers.models.history import AttemptError, JobHistory
from handlers.models.job import JobPayload, JobRecord
from handlers.models.queue import QueueSwitch

__all__ = ["AttemptError", "AuditEntry", "JobHistory", "JobPayload", "JobRecord", "QueueSwitch"]
