"""Events: published in the caller's transaction, and delivered to each subscriber by a job, at least once, in order."""

from handlers import following
from handlers.events.freeing import follow

following.add(follow)
