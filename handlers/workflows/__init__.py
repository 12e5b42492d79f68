"""Jobs that wait for each other: built whole, moved on by the ends of their parents, governed as one."""

from handlers import following
from handlers.lifecycle import guards
from handlers.workflows import governing, release
from handlers.workflows.progress import follow

following.add(follow)
# A job of a paused workflow is not claimed. Whether any is paused is asked once for all jobs of a claim, by the index
# of those, which their ids, too, are asked for.
guards.add(
    "watched",
    """CASE WHEN EXISTS (SELECT 1 FROM jobs_workflow p WHERE p.paused_at IS NOT NULL AND p.id > 0) THEN
        COALESCE((SELECT w.paused_at IS NULL FROM jobs_workflownode n JOIN jobs_workflow w ON w.id = n.workflow_id
            WHERE n.job_id = j.id), TRUE) ELSE TRUE END""",
)
# Who deleted one would let others wait for ever. One that has failed is retried: it does what is left to do.
guards.keep(release.TYPE_NAME, governing.TYPE_NAME)
