"""Stages that are done once and resumed after a kill, and the processes that do them."""
