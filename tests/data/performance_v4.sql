BEGIN TRANSACTION;
CREATE TABLE alerts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(64) NOT NULL, 
	subject VARCHAR NOT NULL, 
	severity VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	began VARCHAR(32) NOT NULL, 
	last_beyond VARCHAR(32) NOT NULL, 
	fired VARCHAR(32), 
	ended VARCHAR(32), 
	value FLOAT, 
	threshold FLOAT, 
	message TEXT NOT NULL, 
	advice TEXT NOT NULL, 
	notified VARCHAR(32), 
	notices INTEGER NOT NULL, 
	acknowledged VARCHAR(32), 
	acknowledged_by VARCHAR, 
	note TEXT
);
CREATE TABLE days (
	day VARCHAR(10) NOT NULL, 
	model_key VARCHAR NOT NULL, 
	runs INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	makespan_sum FLOAT NOT NULL, 
	gap_sum FLOAT NOT NULL, 
	gaps INTEGER NOT NULL, 
	execution_time_sum FLOAT NOT NULL, 
	execution_time_max FLOAT NOT NULL, 
	verdict_sum INTEGER NOT NULL, 
	verdicts INTEGER NOT NULL, 
	policy_makespan_sum FLOAT, 
	policy_makespans INTEGER, 
	PRIMARY KEY (day, model_key)
);
CREATE TABLE feedback (
	request_id VARCHAR NOT NULL, 
	user_satisfaction INTEGER NOT NULL, 
	comment TEXT, 
	timestamp VARCHAR(32) NOT NULL, 
	PRIMARY KEY (request_id)
);
CREATE TABLE outbox (
	id INTEGER NOT NULL, 
	written VARCHAR(32) NOT NULL, 
	channel VARCHAR NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	notice TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	due VARCHAR(32), 
	delivered VARCHAR(32), 
	error TEXT, 
	PRIMARY KEY (id)
);
CREATE TABLE pairs (
	id INTEGER NOT NULL, 
	timestamp VARCHAR(32) NOT NULL, 
	request_id VARCHAR NOT NULL, 
	experiment VARCHAR, 
	source VARCHAR(16) NOT NULL, 
	replay VARCHAR, 
	user_id VARCHAR, 
	candidate VARCHAR NOT NULL, 
	key_a VARCHAR, 
	key_b VARCHAR, 
	makespan_a FLOAT, 
	makespan_b FLOAT, 
	success_a BOOLEAN NOT NULL, 
	success_b BOOLEAN NOT NULL, 
	execution_time_a FLOAT, 
	execution_time_b FLOAT, 
	error_a TEXT, 
	error_b TEXT, 
	lower_bound FLOAT, 
	n_workpoints INTEGER, 
	n_steps INTEGER, 
	time_budget_ms FLOAT, 
	input_digest VARCHAR(64), 
	policy_makespan_a FLOAT, 
	policy_makespan_b FLOAT, 
	PRIMARY KEY (id)
);
CREATE TABLE replays (
	id VARCHAR(64) NOT NULL, 
	definition VARCHAR(64) NOT NULL, 
	timestamp VARCHAR(32) NOT NULL, 
	experiment VARCHAR, 
	candidate VARCHAR NOT NULL, 
	key_a VARCHAR NOT NULL, 
	key_b VARCHAR NOT NULL, 
	since VARCHAR(32) NOT NULL, 
	last_run INTEGER NOT NULL, 
	total INTEGER NOT NULL, 
	options TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE runs (
	id INTEGER NOT NULL, 
	request_id VARCHAR NOT NULL, 
	timestamp VARCHAR(32) NOT NULL, 
	model_key VARCHAR, 
	algorithm VARCHAR, 
	experiment VARCHAR, 
	variant VARCHAR, 
	reason VARCHAR, 
	user_id VARCHAR, 
	makespan FLOAT, 
	execution_time FLOAT, 
	lower_bound FLOAT, 
	gap FLOAT, 
	resource_utilization FLOAT, 
	team_utilization TEXT, 
	n_workpoints INTEGER, 
	n_steps INTEGER, 
	stage VARCHAR, 
	input_params TEXT, 
	success BOOLEAN NOT NULL, 
	error_message TEXT, 
	time_budget_ms FLOAT, 
	queue_time FLOAT, 
	total_time FLOAT, 
	policy_makespan FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES(1,'old-0','2026-11-27T08:00:00.000000+00:00','DDQN_a','DDQN','e','model_a','assigned','u0',50.0,0.002,48.0,0.04,0.6,NULL,1,15,NULL,NULL,1,NULL,0.0,NULL,NULL,52.0);
INSERT INTO "runs" VALUES(2,'old-1','2026-11-27T08:00:00.000000+00:00','DDQN_b','DDQN','e','model_b','assigned','u1',51.0,0.002,48.0,0.04,0.6,NULL,1,15,NULL,NULL,1,NULL,0.0,NULL,NULL,53.0);
INSERT INTO "runs" VALUES(3,'old-2','2026-11-27T08:00:00.000000+00:00','DDQN_a','DDQN','e','model_a','assigned','u2',52.0,0.002,48.0,0.04,0.6,NULL,1,15,NULL,NULL,1,NULL,0.0,NULL,NULL,54.0);
INSERT INTO "runs" VALUES(4,'old-3','2026-11-27T08:00:00.000000+00:00','DDQN_b','DDQN','e','model_b','assigned','u3',53.0,0.002,48.0,0.04,0.6,NULL,1,15,NULL,NULL,1,NULL,0.0,NULL,NULL,55.0);
INSERT INTO "runs" VALUES(5,'old-4','2026-11-27T08:00:00.000000+00:00','DDQN_a','DDQN','e','model_a','assigned','u4',54.0,0.002,48.0,0.04,0.6,NULL,1,15,NULL,NULL,1,NULL,0.0,NULL,NULL,56.0);
INSERT INTO "runs" VALUES(6,'old-5','2026-11-27T08:00:00.000000+00:00','DDQN_b','DDQN','e','model_b','assigned','u5',NULL,0.001,48.0,NULL,NULL,NULL,1,15,NULL,NULL,0,'ValueError: x',0.0,NULL,NULL,NULL);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(4);
CREATE TABLE silences (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(64), 
	subject VARCHAR, 
	began VARCHAR(32) NOT NULL, 
	until VARCHAR(32) NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason TEXT NOT NULL
);
CREATE INDEX alerts_by_rule ON alerts (name, subject, began);
CREATE INDEX alerts_by_state ON alerts (state);
CREATE INDEX alerts_by_time ON alerts (began);
CREATE INDEX outbox_by_time ON outbox (written);
CREATE INDEX outbox_due ON outbox (due);
CREATE INDEX pairs_by_experiment ON pairs (experiment, timestamp);
CREATE UNIQUE INDEX pairs_once ON pairs (replay, request_id, candidate);
CREATE INDEX replays_by_definition ON replays (definition, timestamp);
CREATE INDEX replays_by_experiment ON replays (experiment, timestamp);
CREATE INDEX runs_by_experiment ON runs (experiment, timestamp);
CREATE INDEX runs_by_model ON runs (model_key, timestamp);
CREATE INDEX runs_by_request ON runs (request_id);
CREATE INDEX runs_by_time ON runs (timestamp);
DELETE FROM "sqlite_sequence";
COMMIT;
