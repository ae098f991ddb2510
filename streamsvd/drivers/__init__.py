"""The verbs: each joins a method, a plan and a store."""
