"""The durable record: jobs with all that hangs on them, and what people and processes say about them."""

from handlers.models.act import Act
from handlers.models.alert import AlertIncident, AlertKind, AlertNotice, AlertRule
from handlers.models.audit import AuditEntry
from handlers.models.blocking import BlockingCall
from handlers.models.bulk import BulkItem, BulkOperation, BulkState
from handlers.models.client import ApiAnswer, ApiClient
from handlers.models.count import BUCKET_FIELDS, BUCKETS, JobCount, JobCountDelta, Outcome, Period
from handlers.models.deploy import Deploy
from handlers.models.event import UNTAKEN, Delivery, DeliveryState, EventRecord
from handlers.models.failure_group import OPEN_STATES, FailureGroup, GroupEvent, GroupState
from handlers.models.history import AttemptError, AttemptLog, JobHistory
from handlers.models.hook_trouble import HookTrouble
from handlers.models.job import JobPayload, JobRecord
from handlers.models.limit import LimitKey, LimitOverride, LimitSlot, LimitStart, LimitWaiter
from handlers.models.policy import PolicyAssignment, StoredPolicy
from handlers.models.recurring import How, Misfire, Occurrence, Overlap, RecurringJob
from handlers.models.result import JobResult
from handlers.models.rq_origin import RQOrigin
from handlers.models.run import JobStep, RunState
from handlers.models.saga import SagaKey, SagaRecord, SagaTimeout, SagaTurn, TurnKind
from handlers.models.signal import JobSignal, SignalStatus
from handlers.models.stack import LiveStack
from handlers.models.stranded import StrandedJob
from handlers.models.switch import QueueSwitch, Switch, TypeSwitch
from handlers.models.tag import JobTag
from handlers.models.task_metadata import TaskMetadata
from handlers.models.trace import JobTrace
from handlers.models.turn import Turn
from handlers.models.unique import UniqueKey
from handlers.models.watched import WatchedMove
from handlers.models.worker import KnownTypes, WorkerProcess
from handlers.models.workflow import Gate, GateParent, NodeInput, NodeOutcome, Require, When, Workflow, WorkflowNode

__all__ = [
    "BUCKETS",
    "BUCKET_FIELDS",
    "OPEN_STATES",
    "UNTAKEN",
    "Act",
    "AlertIncident",
    "AlertKind",
    "AlertNotice",
    "AlertRule",
    "ApiAnswer",
    "ApiClient",
    "AttemptError",
    "AttemptLog",
    "AuditEntry",
    "BlockingCall",
    "BulkItem",
    "BulkOperation",
    "BulkState",
    "Delivery",
    "DeliveryState",
    "Deploy",
    "EventRecord",
    "FailureGroup",
    "Gate",
    "GateParent",
    "GroupEvent",
    "GroupState",
    "HookTrouble",
    "How",
    "JobCount",
    "JobCountDelta",
    "JobHistory",
    "JobPayload",
    "JobRecord",
    "JobResult",
    "JobSignal",
    "JobStep",
    "JobTag",
    "JobTrace",
    "KnownTypes",
    "LimitKey",
    "LimitOverride",
    "LimitSlot",
    "LimitStart",
    "LimitWaiter",
    "LiveStack",
    "Misfire",
    "NodeInput",
    "NodeOutcome",
    "Occurrence",
    "Outcome",
    "Overlap",
    "Period",
    "PolicyAssignment",
    "QueueSwitch",
    "RQOrigin",
    "RecurringJob",
    "Require",
    "RunState",
    "SagaKey",
    "SagaRecord",
    "SagaTimeout",
    "SagaTurn",
    "SignalStatus",
    "StoredPolicy",
    "StrandedJob",
    "Switch",
    "TaskMetadata",
    "Turn",
    "TurnKind",
    "TypeSwitch",
    "UniqueKey",
    "WatchedMove",
    "When",
    "WorkerProcess",
    "Workflow",
    "WorkflowNode",
]
