"""The pages of alerts: what is wrong now, the rules, and what was sent."""
