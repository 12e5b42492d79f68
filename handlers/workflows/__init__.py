"""Jobs that wait for each other: built whole, moved on by the ends of their parents, governed as one."""

from handlers import following
from handlers.lifecycle import guards
from handlers.workflows import governing, release
from handlers.workflows.progress import follow

following.add(follow)
# A job of a paused workflow is not claimed.
guards.add(
    "watched",
    """COALESCE((SELECT w.paused_at IS NULL FROM jobs_workflownode n JOIN jobs_workflow w ON w.id = n.workflow_id
        WHERE n.job_id = j.id), TRUE)""",
)
# Who deleted one would let others wait for ever. One that has failed is retried: it does what is left to do.
guards.keep(release.TYPE_NAME, governing.TYPE_NAME)
