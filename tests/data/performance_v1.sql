BEGIN TRANSACTION;
CREATE TABLE feedback (
	request_id VARCHAR NOT NULL, 
	user_satisfaction INTEGER NOT NULL, 
	comment TEXT, 
	timestamp VARCHAR(32) NOT NULL, 
	PRIMARY KEY (request_id)
);
INSERT INTO "feedback" VALUES('old-1',4,'很好','2026-11-20T08:00:00.000000+00:00');
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
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES(1,'old-1','2026-11-20T08:00:00.000000+00:00','DDQN_1a2b3c4d_v1.0.0','DDQN','ddqn_v1_vs_v2','model_a','assigned','用户1',53.5,0.0213,53.0,9.43396226415094303618e-03,0.41,'{"team1":0.2,"team3":0.6}',1,15,'annealing','{"params":[10,5,8,6,7,9,6,7,6,7,7,7,4,7,5]}',1,NULL);
INSERT INTO "runs" VALUES(2,'old-2','2026-11-20T08:00:00.000000+00:00','DDQN_5e6f7a8b_v2.0.0','DDQN','ddqn_v1_vs_v2','model_b','assigned','user_2',NULL,0.004,NULL,NULL,NULL,NULL,1,15,NULL,'{"params":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}',0,'InvalidModel: the weights have changed');
INSERT INTO "runs" VALUES(3,'old-2','2026-11-20T08:00:00.000000+00:00','DDQN_1a2b3c4d_v1.0.0','DDQN','ddqn_v1_vs_v2',NULL,'fallback','user_2',7.5,0.0201,7.5,0.0,NULL,NULL,1,15,'greedy','{"params":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}',1,NULL);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1);
CREATE INDEX runs_by_experiment ON runs (experiment, timestamp);
CREATE INDEX runs_by_model ON runs (model_key, timestamp);
CREATE INDEX runs_by_request ON runs (request_id);
CREATE INDEX runs_by_time ON runs (timestamp);
COMMIT;
