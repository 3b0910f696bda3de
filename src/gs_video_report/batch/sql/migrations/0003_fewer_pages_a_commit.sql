-- What every claim and every end writes to: two indexes fewer.
DROP INDEX attempts_speed;
DROP INDEX events_batch;
CREATE INDEX events_batch ON events(batch_id, event_id) WHERE task_id IS NULL;
