"""What monitoring asks: numbers for Prometheus, and whether this process may be sent requests.

The numbers come from the database, where workers and schedulers have summed what happened, and from the queue server.
So every process answers the same, and none of them keeps any.
"""
