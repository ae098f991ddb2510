"""A pass on the workers of a distributed cluster: placed, watched, repeated where something was lost, and stopped in order."""
