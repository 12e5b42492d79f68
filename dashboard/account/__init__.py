"""A person's own account: who they are here, and how the console behaves for them."""
