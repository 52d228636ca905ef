"""What the registry, the experiments and the thresholds consist of, changed as a whole, in a folder or in PostgreSQL.

A store has documents (JSON), logs (lines that are only appended) and files (weights). Their names are paths below
SCHED_HOME: `ab_test_config.json`, `models/tags.json`, `logs/experiments.jsonl`. `change` has the interface, `folder`
and `database` the two implementations, and `opening` chooses one of them.
"""
