"""An app of the size that the console's figures are given for: 200 job types on 50 queues."""
