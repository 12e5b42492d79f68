"""An app of the size that the environment says: so many job types on so many queues."""
