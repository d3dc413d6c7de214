PRAGMA application_id = 1397772871;
PRAGMA user_version = 1;
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, ended INTEGER NOT NULL,
    state BLOB NOT NULL);
CREATE TABLE logs (
    task_id TEXT PRIMARY KEY, next_offset INTEGER NOT NULL, lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log_chunks (
    task_id TEXT NOT NULL, first INTEGER NOT NULL, lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (task_id, first));
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO tasks VALUES (1, 'least', 0, CAST('{"task_id":"least","name":"n","title":"t","epoch":"e","created_at":1.5}' AS BLOB));
INSERT INTO tasks VALUES (2, 'full', 1, CAST('{"task_id":"full","name":"checksum","title":"Größe 😀","epoch":"e1","created_at":2.0,"seq":7,"status":"completed","progress":100.0,"current":3,"total":3.0,"unit":"file","message":"done","steps":[{"name":"Scan","weight":2.0,"status":"completed","progress":100.0,"elapsed_s":0.5}],"rate":6.0,"eta_s":null,"elapsed_s":0.5,"started_at":2.5,"updated_at":3.0,"finished_at":3.0,"cancellable":true,"cancel_requested":false,"result":{"files":[1,2.5,null]},"files":[{"name":"SHA256SUMS","size_bytes":99}],"error":null,"source":"server","host":null,"parent_id":null,"tags":["a"],"args":{"path":"/x"}}' AS BLOB));
INSERT INTO tasks VALUES (3, 'later', 0, CAST('{"task_id":"later","name":"n","title":"t","epoch":"e","created_at":3.0,"a_field_of_a_later_version":{"deep":[1]}}' AS BLOB));
INSERT INTO logs VALUES ('full', 3, 2, 6);
INSERT INTO log_chunks VALUES ('full', 1, 2, 6, CAST('["one","two"]' AS BLOB));
INSERT INTO meta VALUES ('secret', 'abc');
