"""Plans: a shutdown's plan under a name, with a new version for each report, replan and edit.

versions      a version: the request, its schedule, who made it and why
changes       the request of the next version: reports, promises, people
edits         steps that are added and cancelled
records       the stored plans; the only module here that reads or writes
comparison    what moved between two versions, and whose crews
earned_value  planned and earned value, and what was added or cancelled
explanation   the chain of steps and waits that the makespan consists of
advice        what one and two more people in a team would save
risk          the makespan under uncertain durations
cli           `python -m scheduler_service.plans`
"""
