-- Events are never deleted, so the next number is one more than the last without a page that
-- remembers it: a page fewer at every claim and every end.
CREATE TABLE events_now(
  event_id INTEGER PRIMARY KEY,        -- rising; rows are never deleted
  at       TEXT NOT NULL,
  batch_id TEXT,
  task_id  INTEGER,
  kind     TEXT NOT NULL,
  data     TEXT NOT NULL DEFAULT '{}'  -- JSON
);
INSERT INTO events_now SELECT event_id, at, batch_id, task_id, kind, data FROM events;
DROP TABLE events;
ALTER TABLE events_now RENAME TO events;
CREATE INDEX events_batch ON events(batch_id, event_id) WHERE task_id IS NULL;
