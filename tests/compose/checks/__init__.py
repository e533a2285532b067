"""Checks of the composed stack; `../run` prepares what they need."""
