"""The Django app whose one job type the comparison with other systems enqueues."""
