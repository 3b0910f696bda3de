-- The queue of gs-video-report. States are words, times are UTC ISO-8601, so that any SQLite
-- browser shows what is going on. Counters of `batches` are kept by triggers, never by programs.
-- Checks that every claim and completion pays for are chains of OR: for a longer IN, SQLite builds
-- a set anew for each row, which cost a sixth of the writer's time.

CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE batches(
  batch_id       TEXT PRIMARY KEY,
  name           TEXT NOT NULL,
  batch_key      TEXT NOT NULL,
  status         TEXT NOT NULL CHECK(status IN
                 ('initializing','running','paused','completed','failed','cancelled')),
  status_reason  TEXT NOT NULL DEFAULT '',
  created_at     TEXT NOT NULL,
  started_at     TEXT,
  finished_at    TEXT,
  resume_at      TEXT,
  tool_version   TEXT NOT NULL DEFAULT '',
  pending        INTEGER NOT NULL DEFAULT 0 CHECK(pending >= 0),
  running        INTEGER NOT NULL DEFAULT 0 CHECK(running >= 0),
  retrying       INTEGER NOT NULL DEFAULT 0 CHECK(retrying >= 0),
  completed      INTEGER NOT NULL DEFAULT 0 CHECK(completed >= 0),
  failed         INTEGER NOT NULL DEFAULT 0 CHECK(failed >= 0),
  cancelled      INTEGER NOT NULL DEFAULT 0 CHECK(cancelled >= 0),
  skipped        INTEGER NOT NULL DEFAULT 0 CHECK(skipped >= 0),
  media_ms_total INTEGER NOT NULL DEFAULT 0,  -- length of all tasks whose length is known
  media_ms_done  INTEGER NOT NULL DEFAULT 0,  -- of those completed or skipped
  requests       INTEGER NOT NULL DEFAULT 0,  -- sums over the results of completed tasks
  tokens_in      INTEGER NOT NULL DEFAULT 0,
  tokens_out     INTEGER NOT NULL DEFAULT 0,
  usd            REAL    NOT NULL DEFAULT 0,
  ledger_usd     REAL    NOT NULL DEFAULT 0,  -- sum over the rows of `usage`, failed attempts included
  options        TEXT NOT NULL,               -- JSON of BatchOptions
  input_spec     TEXT NOT NULL                -- JSON
);
CREATE INDEX batches_key ON batches(batch_key, created_at);
CREATE INDEX batches_created ON batches(created_at);

CREATE TABLE tasks(
  task_id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused
  batch_id         TEXT NOT NULL REFERENCES batches(batch_id) ON DELETE CASCADE,
  seq              INTEGER NOT NULL CHECK(seq >= 1),   -- 1, 2, 3 ... within the batch
  status           TEXT NOT NULL DEFAULT 'pending' CHECK(
                   status = 'pending' OR status = 'running' OR status = 'retrying' OR
                   status = 'completed' OR status = 'failed' OR status = 'cancelled' OR
                   status = 'skipped'),
  priority         INTEGER NOT NULL CHECK(priority BETWEEN 0 AND 100),  -- smaller first
  source           TEXT NOT NULL,                      -- for people; the exact one is in `video`
  template         TEXT NOT NULL,
  attempt          INTEGER NOT NULL DEFAULT 0 CHECK(attempt >= 0),  -- fencing token, +1 at claim
  failures         INTEGER NOT NULL DEFAULT 0 CHECK(failures >= 0),
  kills            INTEGER NOT NULL DEFAULT 0 CHECK(kills >= 0),
  stage            TEXT,
  worker_id        TEXT,
  lease_expires_at TEXT,                               -- for people
  lease_until_ms   INTEGER,                            -- CLOCK_BOOTTIME of boot_id
  boot_id          TEXT,
  next_attempt_at  TEXT,
  cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK(cancel_requested IN (0, 1)),
  media_s          REAL,
  error_code       TEXT,
  error            TEXT,                               -- JSON of TaskError
  created_at       TEXT NOT NULL,
  started_at       TEXT,
  finished_at      TEXT,
  fingerprint      TEXT,
  task_key         TEXT NOT NULL,
  video            TEXT NOT NULL,                      -- JSON of VideoInput
  result           TEXT,                               -- JSON of TaskResult
  CHECK((status = 'running') = (worker_id IS NOT NULL)),
  CHECK((worker_id IS NULL) = (lease_until_ms IS NULL)),
  CHECK((status = 'retrying') = (next_attempt_at IS NOT NULL)),
  CHECK(status <> 'completed' OR result IS NOT NULL),
  CHECK(status <> 'failed' OR error IS NOT NULL),
  CHECK((status = 'completed' OR status = 'failed' OR status = 'cancelled' OR status = 'skipped')
        = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX tasks_seq ON tasks(batch_id, seq);
CREATE UNIQUE INDEX tasks_key ON tasks(batch_id, task_key);
CREATE INDEX tasks_pending ON tasks(batch_id, priority, task_id) WHERE status = 'pending';
CREATE INDEX tasks_due ON tasks(batch_id, next_attempt_at) WHERE status = 'retrying';
CREATE INDEX tasks_running ON tasks(worker_id) WHERE status = 'running';
CREATE INDEX tasks_failed ON tasks(batch_id, error_code) WHERE status = 'failed';

CREATE TRIGGER tasks_counted_in AFTER INSERT ON tasks BEGIN
  UPDATE batches SET
    pending = pending + (NEW.status = 'pending'),
    running = running + (NEW.status = 'running'),
    retrying = retrying + (NEW.status = 'retrying'),
    completed = completed + (NEW.status = 'completed'),
    failed = failed + (NEW.status = 'failed'),
    cancelled = cancelled + (NEW.status = 'cancelled'),
    skipped = skipped + (NEW.status = 'skipped'),
    media_ms_total = media_ms_total + CAST(round(ifnull(NEW.media_s, 0) * 1000) AS INTEGER),
    media_ms_done = media_ms_done + CASE WHEN NEW.status IN ('completed','skipped')
      THEN CAST(round(ifnull(NEW.media_s, 0) * 1000) AS INTEGER) ELSE 0 END
  WHERE batch_id = NEW.batch_id;
END;

CREATE TRIGGER tasks_counted_moved AFTER UPDATE OF status, media_s ON tasks
WHEN OLD.status <> NEW.status OR OLD.media_s IS NOT NEW.media_s BEGIN
  UPDATE batches SET
    pending = pending - (OLD.status = 'pending') + (NEW.status = 'pending'),
    running = running - (OLD.status = 'running') + (NEW.status = 'running'),
    retrying = retrying - (OLD.status = 'retrying') + (NEW.status = 'retrying'),
    completed = completed - (OLD.status = 'completed') + (NEW.status = 'completed'),
    failed = failed - (OLD.status = 'failed') + (NEW.status = 'failed'),
    cancelled = cancelled - (OLD.status = 'cancelled') + (NEW.status = 'cancelled'),
    skipped = skipped - (OLD.status = 'skipped') + (NEW.status = 'skipped'),
    media_ms_total = media_ms_total - CAST(round(ifnull(OLD.media_s, 0) * 1000) AS INTEGER)
                                    + CAST(round(ifnull(NEW.media_s, 0) * 1000) AS INTEGER),
    media_ms_done = media_ms_done
      - CASE WHEN OLD.status IN ('completed','skipped')
          THEN CAST(round(ifnull(OLD.media_s, 0) * 1000) AS INTEGER) ELSE 0 END
      + CASE WHEN NEW.status IN ('completed','skipped')
          THEN CAST(round(ifnull(NEW.media_s, 0) * 1000) AS INTEGER) ELSE 0 END
  WHERE batch_id = NEW.batch_id;
END;

CREATE TRIGGER tasks_counted_out AFTER DELETE ON tasks BEGIN
  UPDATE batches SET
    pending = pending - (OLD.status = 'pending'),
    running = running - (OLD.status = 'running'),
    retrying = retrying - (OLD.status = 'retrying'),
    completed = completed - (OLD.status = 'completed'),
    failed = failed - (OLD.status = 'failed'),
    cancelled = cancelled - (OLD.status = 'cancelled'),
    skipped = skipped - (OLD.status = 'skipped'),
    media_ms_total = media_ms_total - CAST(round(ifnull(OLD.media_s, 0) * 1000) AS INTEGER),
    media_ms_done = media_ms_done - CASE WHEN OLD.status IN ('completed','skipped')
      THEN CAST(round(ifnull(OLD.media_s, 0) * 1000) AS INTEGER) ELSE 0 END
  WHERE batch_id = OLD.batch_id;
END;

CREATE TABLE attempts(
  task_id         INTEGER NOT NULL REFERENCES tasks(task_id) ON DELETE CASCADE,
  attempt         INTEGER NOT NULL CHECK(attempt >= 1),
  worker_id       TEXT NOT NULL,
  started_at      TEXT NOT NULL,
  ended_at        TEXT,
  outcome         TEXT CHECK(
                  outcome = 'completed' OR outcome = 'failed' OR outcome = 'retrying' OR
                  outcome = 'released' OR outcome = 'cancelled' OR outcome = 'skipped' OR
                  outcome = 'died' OR outcome = 'lapsed'),
  error           TEXT,                -- JSON of TaskError
  started_boot_ms INTEGER NOT NULL,    -- CLOCK_BOOTTIME, so that `seconds` survives clock jumps
  seconds         REAL,                -- NULL when the machine restarted in between
  engine          TEXT,
  media_s         REAL,
  PRIMARY KEY(task_id, attempt),
  CHECK((ended_at IS NULL) = (outcome IS NULL))
) WITHOUT ROWID;

CREATE TABLE steps(
  step_key    TEXT PRIMARY KEY,        -- SHA-256 of (fingerprint, name, part, params)
  fingerprint TEXT NOT NULL,
  name        TEXT NOT NULL,
  part        INTEGER NOT NULL,
  params      TEXT NOT NULL,           -- canonical JSON
  value       TEXT NOT NULL,           -- JSON
  seconds     REAL NOT NULL,
  task_id     INTEGER,                 -- the task that paid for it
  created_at  TEXT NOT NULL
);
CREATE INDEX steps_source ON steps(fingerprint, name, part);

CREATE TABLE events(
  event_id INTEGER PRIMARY KEY,        -- rising; rows are never deleted
  at       TEXT NOT NULL,
  batch_id TEXT,
  task_id  INTEGER,
  kind     TEXT NOT NULL,
  data     TEXT NOT NULL DEFAULT '{}'  -- JSON
);
-- Only those of the batch as a whole: an index of all would be a page written at every claim.
CREATE INDEX events_batch ON events(batch_id, event_id) WHERE task_id IS NULL;

CREATE TABLE usage(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at         TEXT NOT NULL,
  batch_id   TEXT,
  task_id    INTEGER,
  provider   TEXT NOT NULL,
  model      TEXT NOT NULL DEFAULT '',
  key_id     TEXT NOT NULL DEFAULT '',  -- a fingerprint of the key, never the key
  requests   INTEGER NOT NULL DEFAULT 0,
  tokens_in  INTEGER NOT NULL DEFAULT 0,
  tokens_out INTEGER NOT NULL DEFAULT 0,
  usd        REAL NOT NULL DEFAULT 0
);
CREATE INDEX usage_at ON usage(at);
CREATE INDEX usage_batch ON usage(batch_id);

CREATE TRIGGER usage_summed AFTER INSERT ON usage WHEN NEW.usd <> 0 BEGIN
  UPDATE batches SET ledger_usd = ledger_usd + NEW.usd WHERE batch_id = NEW.batch_id;
END;

-- What requests in flight may cost at most; kept when their process died: they may have been paid.
CREATE TABLE holds(
  hold_id    TEXT PRIMARY KEY,
  at         TEXT NOT NULL,
  batch_id   TEXT,
  process_id TEXT NOT NULL,            -- while it lives, the request may turn out cheaper
  usd        REAL NOT NULL
) WITHOUT ROWID;

-- What refusals have taught about the quotas of a provider.
CREATE TABLE rates(
  bucket  TEXT PRIMARY KEY,            -- provider/model/key id
  at      TEXT NOT NULL,
  learned TEXT NOT NULL                -- JSON
) WITHOUT ROWID;

CREATE TABLE checkpoints(
  checkpoint_id TEXT PRIMARY KEY,
  batch_id      TEXT NOT NULL,
  created_at    TEXT NOT NULL,
  reason        TEXT NOT NULL,
  path          TEXT NOT NULL,
  size_bytes    INTEGER NOT NULL,
  tasks         INTEGER NOT NULL,
  sha256        TEXT NOT NULL
);

CREATE TABLE files(
  path       TEXT NOT NULL,            -- a BLOB when the name is not valid UTF-8
  size_bytes INTEGER NOT NULL,
  mtime_ns   INTEGER NOT NULL,
  sha256     TEXT NOT NULL,
  seen_at    TEXT NOT NULL,
  PRIMARY KEY(path)
) WITHOUT ROWID;
