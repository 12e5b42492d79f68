"""The list of jobs and each job."""
