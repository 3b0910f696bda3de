-- name: insert_batch
INSERT INTO batches(batch_id, name, batch_key, status, status_reason, created_at, started_at,
  finished_at, resume_at, tool_version, options, input_spec)
VALUES(:batch_id, :name, :batch_key, :status, :status_reason, :created_at, :started_at,
  :finished_at, :resume_at, :tool_version, :options, :input_spec);

-- name: batch
SELECT * FROM batches WHERE batch_id = ?;

-- name: batches_by_prefix
SELECT * FROM batches WHERE batch_id >= :prefix AND batch_id < :prefix || char(1114111)
ORDER BY batch_id LIMIT 6;

-- name: latest_batch
SELECT * FROM batches ORDER BY created_at DESC, rowid DESC LIMIT 1;

-- name: batch_by_key
SELECT * FROM batches WHERE batch_key = ? AND status <> 'cancelled'
ORDER BY created_at DESC, rowid DESC LIMIT 1;

-- name: newest_batches
SELECT * FROM batches ORDER BY created_at DESC, rowid DESC LIMIT ?;

-- name: set_batch_status
UPDATE batches SET status = :new, status_reason = :reason, resume_at = :resume_at,
  started_at = :started_at, finished_at = :finished_at
WHERE batch_id = :batch_id AND status = :old
RETURNING *;

-- name: set_batch_options
UPDATE batches SET options = :options WHERE batch_id = :batch_id RETURNING *;

-- name: add_batch_usage
UPDATE batches SET requests = requests + ?, tokens_in = tokens_in + ?,
  tokens_out = tokens_out + ?, usd = usd + ? WHERE batch_id = ?;

-- name: last_seq
SELECT coalesce(max(seq), 0) FROM tasks WHERE batch_id = ?;

-- name: insert_tasks
INSERT INTO tasks(batch_id, seq, priority, source, template, task_key, video, created_at)
WITH new(place, priority, source, template, task_key, video) AS (
  VALUES (?, ?, ?, ?, ?, ?))
SELECT ?, ? + row_number() OVER (ORDER BY place), priority, source, template, task_key, video, ?
FROM new WHERE NOT EXISTS(SELECT 1 FROM tasks WHERE tasks.batch_id = ?
                          AND tasks.task_key = new.task_key)
ORDER BY place
RETURNING task_key;

-- name: changed_source
SELECT task_id, status FROM tasks
WHERE batch_id = :batch_id AND task_key = :task_key
  AND status IN ('completed', 'failed', 'skipped')
  AND (json_extract(video, '$.size_bytes') IS NOT :size_bytes
    OR json_extract(video, '$.mtime_ns') IS NOT :mtime_ns);

-- name: set_video
UPDATE tasks SET video = ? WHERE task_id = ?;

-- name: claimable
SELECT task_id FROM (
  SELECT * FROM (
    SELECT priority, task_id FROM tasks INDEXED BY tasks_pending
    WHERE batch_id = :batch_id AND status = 'pending'
    ORDER BY priority, task_id LIMIT :limit)
  UNION ALL
  SELECT * FROM (
    SELECT priority, task_id FROM tasks INDEXED BY tasks_due
    WHERE batch_id = :batch_id AND status = 'retrying' AND next_attempt_at <= :now
    ORDER BY next_attempt_at LIMIT :limit + 100)
  UNION ALL
  SELECT * FROM (
    SELECT priority, task_id FROM tasks INDEXED BY tasks_due
    WHERE batch_id = :batch_id AND status = 'retrying' AND next_attempt_at > :beyond
    LIMIT :limit))
WHERE EXISTS(SELECT 1 FROM batches WHERE batch_id = :batch_id
             AND status IN ('initializing', 'running'))
ORDER BY priority, task_id LIMIT :limit;

-- name: claim
UPDATE tasks SET status = 'running', attempt = attempt + 1, worker_id = claims.value,
  lease_until_ms = :lease_until_ms, lease_expires_at = :lease_expires_at, boot_id = :boot_id,
  next_attempt_at = NULL, stage = NULL, started_at = :now
FROM json_each(:claims) AS claims
WHERE tasks.task_id = CAST(claims.key AS INTEGER) AND tasks.status IN ('pending', 'retrying')
RETURNING task_id, batch_id, seq, status, priority, video, template, attempt, failures, kills,
  worker_id, lease_expires_at, next_attempt_at, cancel_requested, fingerprint, media_s, stage,
  error, result, created_at, started_at, finished_at;

-- name: start_attempt
INSERT INTO attempts(task_id, attempt, worker_id, started_at, started_boot_ms)
VALUES (?, ?, ?, ?, ?);

-- name: end_attempt
UPDATE attempts SET ended_at = ?, outcome = ?, error = ?, engine = ?, media_s = ?,
  seconds = CASE WHEN ? >= started_boot_ms THEN (? - started_boot_ms) / 1000.0 END
WHERE task_id = ? AND attempt = ? AND outcome IS NULL;

-- name: heartbeat
UPDATE tasks SET lease_until_ms = :lease_until_ms, lease_expires_at = :lease_expires_at,
  boot_id = :boot_id
WHERE status = 'running' AND worker_id IN (SELECT value FROM json_each(:workers))
RETURNING task_id, attempt, cancel_requested;

-- name: leave
UPDATE tasks SET status = :new, worker_id = NULL, lease_until_ms = NULL, lease_expires_at = NULL,
  boot_id = NULL, cancel_requested = 0, next_attempt_at = :next_attempt_at,
  failures = failures + :counted,
  error = CASE WHEN :keep_error THEN error ELSE :error END,
  error_code = CASE WHEN :keep_error THEN error_code ELSE :error_code END,
  result = coalesce(:result, result), media_s = coalesce(:media_s, media_s),
  fingerprint = coalesce(:fingerprint, fingerprint), finished_at = :finished_at
WHERE task_id = :task_id AND status = 'running' AND worker_id = :worker_id
  AND attempt = :attempt AND cancel_requested <= :even_if_cancelled
RETURNING task_id, batch_id, attempt, status, media_s;

-- name: complete
WITH done(task_id, worker_id, attempt, result, media_s, fingerprint, now) AS (
  VALUES (?, ?, ?, ?, ?, ?, ?))
UPDATE tasks SET status = 'completed', worker_id = NULL, lease_until_ms = NULL,
  lease_expires_at = NULL, boot_id = NULL, cancel_requested = 0, error = NULL, error_code = NULL,
  result = done.result, media_s = coalesce(done.media_s, tasks.media_s),
  fingerprint = coalesce(done.fingerprint, tasks.fingerprint), finished_at = done.now
FROM done
WHERE tasks.task_id = done.task_id AND tasks.status = 'running'
  AND tasks.worker_id = done.worker_id AND tasks.attempt = done.attempt
RETURNING task_id, batch_id, attempt, media_s;

-- name: ended_so
SELECT 1 FROM tasks JOIN attempts USING(task_id)
WHERE tasks.task_id = :task_id AND tasks.status = :new AND tasks.attempt = :attempt
  AND attempts.attempt = :attempt AND attempts.worker_id = :worker_id
  AND attempts.outcome = :outcome;

-- name: skip_pending
UPDATE tasks SET status = 'skipped', result = coalesce(:result, result), finished_at = :now,
  media_s = coalesce(:media_s, media_s), fingerprint = coalesce(:fingerprint, fingerprint)
WHERE task_id = :task_id AND status = 'pending'
RETURNING task_id, batch_id, attempt, status;

-- name: cancel_open
UPDATE tasks SET status = :new, next_attempt_at = NULL, finished_at = :now,
  media_s = CASE WHEN :new = 'completed'
    THEN coalesce(nullif(json_extract(result, '$.media_s'), 0), media_s) ELSE media_s END,
  fingerprint = CASE WHEN :new = 'completed'
    THEN coalesce(nullif(json_extract(result, '$.fingerprint'), ''), fingerprint)
    ELSE fingerprint END
WHERE task_id IN (SELECT task_id FROM tasks WHERE batch_id = :batch_id AND seq > :after
  AND status IN ('pending', 'retrying') AND (:task_id IS NULL OR task_id = :task_id)
  AND (result IS NOT NULL) = :has_report
  ORDER BY seq LIMIT :limit)
RETURNING task_id, batch_id, attempt, status, seq;

-- name: request_cancel
UPDATE tasks SET cancel_requested = 1
WHERE batch_id = :batch_id AND status = 'running' AND (:task_id IS NULL OR task_id = :task_id)
RETURNING task_id, batch_id, attempt, status;

-- name: requeue
UPDATE tasks SET status = 'pending', failures = 0, kills = 0, error = NULL, error_code = NULL,
  result = CASE WHEN :keep_result THEN result END, cancel_requested = 0, next_attempt_at = NULL,
  finished_at = NULL, stage = NULL
WHERE task_id IN (SELECT task_id FROM tasks WHERE batch_id = :batch_id AND seq > :after
  AND status = :old
  AND (:ids IS NULL OR task_id IN (SELECT value FROM json_each(:ids)))
  ORDER BY seq LIMIT :limit)
RETURNING task_id, batch_id, attempt, status, seq;

-- name: running_leases
SELECT task_id, batch_id, attempt, kills, cancel_requested, worker_id, boot_id, lease_until_ms,
  result IS NOT NULL AS has_report
FROM tasks INDEXED BY tasks_running
WHERE status = 'running' AND (:batch_id IS NULL OR batch_id = :batch_id);

-- name: recover
UPDATE tasks SET status = :new, kills = kills + 1, worker_id = NULL, lease_until_ms = NULL,
  lease_expires_at = NULL, boot_id = NULL, cancel_requested = 0, finished_at = :finished_at,
  error = coalesce(:error, error), error_code = coalesce(:error_code, error_code),
  media_s = CASE WHEN :new = 'completed'
    THEN coalesce(nullif(json_extract(result, '$.media_s'), 0), media_s) ELSE media_s END,
  fingerprint = CASE WHEN :new = 'completed'
    THEN coalesce(nullif(json_extract(result, '$.fingerprint'), ''), fingerprint)
    ELSE fingerprint END
WHERE task_id = :task_id AND status = 'running' AND attempt = :attempt
  AND lease_until_ms = :lease_until_ms
RETURNING task_id, batch_id, attempt, status;

-- name: set_media
UPDATE tasks SET fingerprint = ?, media_s = ?
WHERE task_id = ? AND status = 'running' AND worker_id = ? AND attempt = ?;

-- name: rewrite_report
UPDATE tasks SET result = json_set(result, '$.rewriting', ?)
WHERE task_id = ? AND status = 'running' AND worker_id = ? AND attempt = ?
  AND result IS NOT NULL;

-- name: set_stage
UPDATE tasks SET stage = ?
WHERE task_id = ? AND status = 'running' AND worker_id = ? AND attempt = ?;

-- name: failures_by_code
SELECT error_code, count(*) AS tasks FROM tasks INDEXED BY tasks_failed
WHERE batch_id = ? AND status = 'failed' GROUP BY error_code ORDER BY tasks DESC, error_code;

-- name: next_due
SELECT min(next_attempt_at) AS due FROM tasks INDEXED BY tasks_due
WHERE batch_id = ? AND status = 'retrying';

-- name: task_by_id
SELECT * FROM tasks WHERE task_id = ?;

-- name: task_by_seq
SELECT * FROM tasks WHERE batch_id = ? AND seq = ?;

-- name: task_page
SELECT * FROM tasks WHERE batch_id = :batch_id AND seq > :after
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY seq LIMIT :limit;

-- name: kept_steps
SELECT count(DISTINCT fingerprint) AS videos, count(*) AS steps FROM steps
WHERE fingerprint IN (SELECT fingerprint FROM tasks WHERE batch_id = ?
  AND status IN ('pending', 'running', 'retrying') AND fingerprint IS NOT NULL);

-- name: attempts
SELECT task_id, attempt, worker_id, started_at, ended_at, outcome, error, seconds, engine, media_s
FROM attempts WHERE task_id = ? ORDER BY attempt;

-- name: latest_worker
SELECT attempts.worker_id FROM attempts JOIN tasks USING(task_id) WHERE batch_id = ?
ORDER BY attempts.started_at DESC LIMIT 1;

-- name: media_speed
SELECT a.media_s, a.seconds FROM (
  SELECT * FROM attempts ORDER BY task_id DESC, attempt DESC LIMIT 20000) AS a
  JOIN tasks AS t ON t.task_id = a.task_id
WHERE a.outcome = 'completed' AND a.engine = ? AND a.attempt = 1 AND a.seconds > 0
  AND a.media_s > 0 AND (
    SELECT 2.0 * coalesce(sum(CASE WHEN s.task_id = a.task_id THEN s.seconds END), 0.0)
      >= coalesce(sum(s.seconds), 0.0)
    FROM steps AS s WHERE s.fingerprint = t.fingerprint)
LIMIT ?;

-- name: insert_event
INSERT INTO events(at, batch_id, task_id, kind, data) VALUES (?, ?, ?, ?, ?);

-- name: events
SELECT event_id, at, batch_id, task_id, kind, data FROM events
WHERE batch_id = ? AND event_id > ? ORDER BY event_id LIMIT ?;

-- name: events_of_task
SELECT event_id, at, batch_id, task_id, kind, data FROM events
WHERE batch_id = ? AND task_id = ? ORDER BY event_id;

-- name: get_step
SELECT value FROM steps WHERE step_key = ?;

-- name: get_parts
SELECT part, value FROM steps WHERE fingerprint = ? AND name = ? AND params = ? ORDER BY part;

-- name: put_step
INSERT INTO steps(step_key, fingerprint, name, part, params, value, seconds, task_id, created_at)
VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(step_key) DO NOTHING;

-- name: owner_of
SELECT batch_id, status = 'running' AND attempt = :attempt AS owned FROM tasks
WHERE task_id = :task_id;

-- name: progress_made
UPDATE tasks SET kills = 0 WHERE task_id = ? AND kills > 0;

-- name: forget_step
DELETE FROM steps WHERE step_key = ?;

-- name: forget_source
DELETE FROM steps WHERE fingerprint = :fingerprint AND (:name IS NULL OR name = :name);

-- name: insert_usage
INSERT INTO usage(at, batch_id, task_id, provider, model, key_id, requests, tokens_in,
  tokens_out, usd)
VALUES(:at, :batch_id, :task_id, :provider, :model, :key_id, :requests, :tokens_in,
  :tokens_out, :usd);

-- name: restore_usage
INSERT INTO usage(at, batch_id, task_id, provider, model, key_id, requests, tokens_in,
  tokens_out, usd)
SELECT :at, :batch_id, :task_id, :provider, :model, :key_id, :requests, :tokens_in,
  :tokens_out, :usd
WHERE NOT EXISTS(SELECT 1 FROM usage WHERE at = :at AND provider = :provider AND model = :model
  AND key_id = :key_id AND requests = :requests AND tokens_in = :tokens_in
  AND tokens_out = :tokens_out AND batch_id IS :batch_id);

-- name: sum_ledger
UPDATE batches SET ledger_usd =
  (SELECT coalesce(sum(usd), 0.0) FROM usage WHERE usage.batch_id = :batch_id)
WHERE batch_id = :batch_id;

-- name: usage_since
SELECT coalesce(sum(requests), 0) AS requests, coalesce(sum(tokens_in), 0) AS tokens_in,
  coalesce(sum(tokens_out), 0) AS tokens_out, coalesce(sum(usd), 0.0) AS usd
FROM usage
WHERE at >= :since AND (:provider IS NULL OR provider = :provider)
  AND (:model IS NULL OR model = :model) AND (:key_id IS NULL OR key_id = :key_id)
  AND (:batch_id IS NULL OR batch_id = :batch_id);

-- name: replace_result
UPDATE tasks SET result = :result WHERE task_id = :task_id AND attempt = :attempt
  AND status IN ('completed', 'skipped') RETURNING task_id;

-- name: pages_are_older
SELECT 1 FROM tasks WHERE batch_id = ? AND json_extract(result, '$.rewriting') = 'pages' LIMIT 1;

-- name: pages_written
UPDATE tasks SET result = json_set(result, '$.rewriting', '')
WHERE batch_id = ? AND json_extract(result, '$.rewriting') = 'pages';

-- name: usd_reused
SELECT coalesce(sum(json_extract(result, '$.reused.usd')), 0.0) AS usd
FROM tasks WHERE batch_id = ? AND status = 'completed';

-- name: usage_by_key
SELECT provider, model, key_id, coalesce(sum(requests), 0) AS requests,
  coalesce(sum(tokens_in), 0) AS tokens_in, coalesce(sum(tokens_out), 0) AS tokens_out,
  coalesce(sum(usd), 0.0) AS usd, max(at) AS last_at
FROM usage WHERE at >= :since GROUP BY provider, model, key_id ORDER BY provider, model, key_id;

-- name: usage_page
SELECT * FROM usage WHERE id > :after AND (batch_id = :batch_id OR at >= :since)
ORDER BY id LIMIT :limit;

-- name: remembered_fingerprint
SELECT sha256 FROM files WHERE path = ? AND size_bytes = ? AND mtime_ns = ?;

-- name: remember_fingerprint
INSERT INTO files(path, size_bytes, mtime_ns, sha256, seen_at) VALUES(?, ?, ?, ?, ?)
ON CONFLICT(path) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,
  sha256 = excluded.sha256, seen_at = excluded.seen_at;

-- name: insert_checkpoint
INSERT OR REPLACE INTO checkpoints(checkpoint_id, batch_id, created_at, reason, path, size_bytes,
  tasks, sha256)
VALUES(?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_checkpoint
DELETE FROM checkpoints WHERE checkpoint_id = ?;

-- name: newest_event
SELECT coalesce((SELECT event_id FROM events WHERE batch_id = ? ORDER BY event_id DESC LIMIT 1), 0)
  AS event_id;

-- name: batch_story
SELECT event_id, at, batch_id, task_id, kind, data FROM events
WHERE batch_id = ? AND task_id IS NULL ORDER BY event_id DESC LIMIT ?;

-- name: run_events
SELECT event_id, at, batch_id, task_id, kind, data FROM events
WHERE batch_id = ? AND task_id IS NULL AND kind IN (?, ?) ORDER BY event_id DESC LIMIT ?;

-- name: running_tasks
SELECT * FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND batch_id = ?;

-- name: tasks_by_ids
SELECT * FROM tasks WHERE task_id IN (SELECT value FROM json_each(?));

-- name: waiting_lengths
SELECT media_s, count(*) AS tasks FROM (
  SELECT round(media_s) AS media_s FROM tasks WHERE batch_id = ?1 AND status = 'pending'
  UNION ALL
  SELECT round(media_s) AS media_s FROM tasks WHERE batch_id = ?1 AND status = 'retrying')
GROUP BY media_s;

-- name: newest_step
SELECT value FROM steps WHERE fingerprint = ? AND name = ? ORDER BY created_at DESC LIMIT 1;

-- name: parts_done
SELECT part FROM steps WHERE fingerprint = :fingerprint AND name = :name AND params = (
  SELECT params FROM steps WHERE fingerprint = :fingerprint AND name = :name
  ORDER BY created_at DESC LIMIT 1);

-- name: steps_done
SELECT count(*) AS steps FROM steps WHERE fingerprint = :fingerprint AND name = :name;

-- name: uploads_left
SELECT s.fingerprint, s.part, s.params, s.value, min(t.source) AS shown
FROM tasks AS t JOIN steps AS s ON s.fingerprint = t.fingerprint AND s.name = 'upload'
WHERE t.batch_id = ? AND t.status IN ('completed', 'skipped') AND s.created_at >= ?
  AND NOT EXISTS (SELECT 1 FROM steps AS d WHERE d.fingerprint = s.fingerprint
    AND d.name = 'upload_deleted' AND d.part = s.part AND d.params = s.params)
  AND s.fingerprint NOT IN (SELECT fingerprint FROM tasks
    WHERE fingerprint IS NOT NULL AND status IN ('pending', 'running', 'retrying'))
GROUP BY s.fingerprint, s.part, s.params, s.value;

-- name: tasks_owed
SELECT task_id FROM tasks AS t WHERE batch_id = ? AND status = 'running'
  AND EXISTS (SELECT 1 FROM steps AS s WHERE s.fingerprint = t.fingerprint
    AND s.name IN ('batch_asked', 'batch_job'))
  AND NOT EXISTS (SELECT 1 FROM steps AS s WHERE s.fingerprint = t.fingerprint
    AND s.name = 'batch_replies');

-- name: spent_and_held
SELECT
  (SELECT coalesce(max(max(usd, ledger_usd)), 0.0) FROM batches WHERE batch_id = :batch_id)
    AS batch_usd,
  (SELECT coalesce(sum(usd), 0.0) FROM holds WHERE batch_id = :batch_id) AS batch_held,
  (SELECT coalesce(sum(usd), 0.0) FROM usage WHERE at >= :day) AS day_usd,
  (SELECT coalesce(sum(usd), 0.0) FROM holds WHERE at >= :day) AS day_held;

-- name: add_hold
INSERT INTO holds(hold_id, at, batch_id, process_id, usd)
VALUES(:hold_id, :at, :batch_id, :process_id, :usd)
ON CONFLICT(hold_id) DO UPDATE SET at = excluded.at, batch_id = excluded.batch_id,
  process_id = excluded.process_id, usd = excluded.usd;

-- name: hold_of
SELECT at, batch_id, usd FROM holds WHERE hold_id = ?;

-- name: leave_hold
UPDATE holds SET process_id = '' WHERE hold_id = ?;

-- name: drop_hold
DELETE FROM holds WHERE hold_id = ?;

-- name: holds_by_process
SELECT process_id,
  coalesce(sum(CASE WHEN batch_id = :batch_id THEN usd END), 0.0) AS batch_usd,
  coalesce(sum(CASE WHEN at >= :day THEN usd END), 0.0) AS day_usd
FROM holds WHERE (batch_id = :batch_id OR at >= :day) AND hold_id <> :but GROUP BY process_id;

-- name: all_holds
SELECT hold_id, at, coalesce(batch_id, '') AS batch_id, process_id, usd FROM holds ORDER BY at;

-- name: money_in_doubt
SELECT coalesce(sum(json_extract(data, '$.usd')), 0.0) AS usd FROM events
WHERE batch_id = ? AND kind = ?;

-- name: keys_set_aside
SELECT at, data FROM events WHERE kind = 'note' AND at >= ?
  AND json_extract(data, '$.kind') IN ('key_refused', 'key_spent', 'key_freed')
ORDER BY event_id;

-- name: learned_rate
SELECT at, learned FROM rates WHERE bucket = ?;

-- name: put_learned_rate
INSERT INTO rates(bucket, at, learned) VALUES(?, ?, ?)
ON CONFLICT(bucket) DO UPDATE SET at = excluded.at, learned = excluded.learned;

-- name: attempt_seconds
SELECT coalesce(outcome, 'running') AS outcome, count(*) AS count, sum(seconds) AS seconds,
  max(seconds) AS longest,
  sum(seconds <= 1) AS at_most_1, sum(seconds <= 5) AS at_most_5, sum(seconds <= 10) AS at_most_10,
  sum(seconds <= 30) AS at_most_30, sum(seconds <= 60) AS at_most_60, sum(seconds <= 120) AS at_most_120,
  sum(seconds <= 300) AS at_most_300, sum(seconds <= 600) AS at_most_600, sum(seconds <= 1800) AS at_most_1800,
  sum(seconds <= 3600) AS at_most_3600, sum(seconds <= 7200) AS at_most_7200
FROM attempts JOIN tasks USING(task_id) WHERE batch_id = ? GROUP BY 1 ORDER BY 1;

-- name: queue_waits
SELECT count(*) AS count, sum(wait) AS seconds, max(wait) AS longest,
  sum(wait <= 1) AS at_most_1, sum(wait <= 5) AS at_most_5, sum(wait <= 10) AS at_most_10,
  sum(wait <= 30) AS at_most_30, sum(wait <= 60) AS at_most_60, sum(wait <= 120) AS at_most_120,
  sum(wait <= 300) AS at_most_300, sum(wait <= 600) AS at_most_600, sum(wait <= 1800) AS at_most_1800,
  sum(wait <= 3600) AS at_most_3600, sum(wait <= 7200) AS at_most_7200
FROM (SELECT max(0.0, (julianday(attempts.started_at) - julianday(created_at)) * 86400.0) AS wait
  FROM attempts JOIN tasks USING(task_id) WHERE batch_id = ? AND attempts.attempt = 1);

-- name: step_sums
SELECT name, count(*) AS count, sum(seconds) AS seconds FROM steps
WHERE task_id IN (SELECT task_id FROM tasks WHERE batch_id = ?) GROUP BY name ORDER BY name;

-- name: event_counts
SELECT kind, count(*) AS count FROM events WHERE batch_id = ? GROUP BY kind ORDER BY kind;

-- name: usage_of_batch
SELECT provider, model, sum(requests) AS requests, sum(tokens_in) AS tokens_in,
  sum(tokens_out) AS tokens_out, sum(usd) AS usd
FROM usage WHERE batch_id = ? GROUP BY provider, model ORDER BY provider, model;

-- name: newest_of_kind
SELECT event_id, at, data FROM events WHERE batch_id = ? AND task_id IS NULL AND kind = ?
ORDER BY event_id DESC LIMIT 1;
