"""What the site says of its queues, as django-rq's own documentation has it: pickles, and one Redis."""

import os

QUEUE = {"URL": os.environ["REDIS_URL"], "DEFAULT_TIMEOUT": 360}
RQ_QUEUES = {"default": QUEUE, "high": QUEUE, "low": QUEUE | {"DEFAULT_TIMEOUT": 60}}
