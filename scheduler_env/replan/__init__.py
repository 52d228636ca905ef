"""From where things stand: facts, what is left to plan, promises that are kept, and what is told about a new plan.

`solving` is the door: it wraps a solver, so that each solver plans instances with a status. The compiled search for the
plan that moves least is `scheduler_env.stability`, beside the other searches.
"""
