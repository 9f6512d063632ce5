"""The shared pace in Postgres: its table, and the functions that give tokens.

One row holds everything about a route of an organization, so that locking it orders all runs. The
functions decide by the clock of the database. Each call is one statement and one transaction, so
nothing is held between calls, and PgBouncer in transaction mode does no harm. Functions rather than
statements, because a statement would decide by what it saw before it got the lock. They run with
the rights of their owner: a role that may only call them can take tokens, and change nothing else.

The rules are those of `api/transport/throttle.py`, with the requests of all runs: nothing is limited
before the first refusal; then what got through in the last minute is the limit, which is tried with
one request more after quiet minutes. Two rules are new. Runs that wait for the same token get it in
the order of what each had in the last minute. A run that is not there when its token is free loses
its place after two seconds.
"""

PACE_MIGRATION = """\
-- The pace of each route of an organization. Times are in unix seconds, by this server's clock.
CREATE TABLE SCHEMA.paces (
    scope text NOT NULL,
    route text NOT NULL,
    taken_at double precision[] NOT NULL DEFAULT '{}',
    taken_by text[] NOT NULL DEFAULT '{}',
    runs jsonb NOT NULL DEFAULT '{}',
    per_window integer,
    passed integer NOT NULL DEFAULT 0,
    is_measured boolean NOT NULL DEFAULT false,
    quiet_windows integer NOT NULL DEFAULT 1,
    rounds integer NOT NULL DEFAULT 0,
    has_server_wait boolean NOT NULL DEFAULT false,
    began_at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    used_at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    changed_at double precision NOT NULL DEFAULT 0,
    refused_at double precision NOT NULL DEFAULT 0,
    resume_at double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, route)
) WITH (fillfactor = 50);

-- Locks a pace, and gives it as it is now: without what is older than the window.
CREATE FUNCTION SCHEMA.lock_pace(
    of_scope text, of_route text, run text, label text, weight integer,
    window_seconds double precision, earlier double precision[]
) RETURNS SCHEMA.paces LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pace SCHEMA.paces;
    moment double precision;
BEGIN
    SELECT * INTO pace FROM SCHEMA.paces WHERE scope = of_scope AND route = of_route FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO SCHEMA.paces (scope, route) VALUES (of_scope, of_route) ON CONFLICT DO NOTHING;
        SELECT * INTO pace FROM SCHEMA.paces WHERE scope = of_scope AND route = of_route FOR UPDATE;
        DELETE FROM SCHEMA.paces WHERE (scope, route) IN (
            SELECT old.scope, old.route FROM SCHEMA.paces AS old
            WHERE old.used_at < pace.used_at - 30 * 86400 FOR UPDATE SKIP LOCKED
        );
    END IF;
    moment := extract(epoch FROM clock_timestamp());
    -- What lies in the future is from before the clock was set back.
    SELECT coalesce(array_agg(taken.at ORDER BY taken.at), '{}'),
        coalesce(array_agg(taken.by ORDER BY taken.at), '{}')
    INTO pace.taken_at, pace.taken_by
    FROM (
        SELECT * FROM (
            SELECT * FROM unnest(pace.taken_at, pace.taken_by) AS known (at, by)
            UNION ALL
            SELECT least(sent, moment), run FROM unnest(earlier) AS sent
        ) AS every
        WHERE every.at > moment - window_seconds AND every.at <= moment + 1
        ORDER BY every.at DESC LIMIT 300
    ) AS taken;
    pace.runs := pace.runs || jsonb_build_object(run, coalesce(pace.runs -> run, '{}') ||
        jsonb_build_object('label', left(label, 200), 'weight', weight, 'seen', moment));
    SELECT jsonb_object_agg(id, entry) INTO pace.runs FROM (
        SELECT id, entry FROM jsonb_each(pace.runs) AS runs (id, entry)
        WHERE (entry ->> 'seen')::double precision BETWEEN moment - 2 * window_seconds AND moment + 1
        ORDER BY id = run DESC, (entry ->> 'seen')::double precision DESC LIMIT 300
    ) AS recent;
    pace.used_at := moment;
    pace.changed_at := least(pace.changed_at, moment);
    IF pace.refused_at > moment THEN
        pace.refused_at := moment;
        pace.resume_at := moment;
    END IF;
    RETURN pace;
END $$;

CREATE FUNCTION SCHEMA.save_pace(pace SCHEMA.paces) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE SCHEMA.paces SET
        taken_at = pace.taken_at, taken_by = pace.taken_by, runs = pace.runs,
        per_window = pace.per_window, passed = pace.passed, is_measured = pace.is_measured,
        quiet_windows = pace.quiet_windows, rounds = pace.rounds,
        has_server_wait = pace.has_server_wait, used_at = pace.used_at,
        changed_at = pace.changed_at, refused_at = pace.refused_at, resume_at = pace.resume_at
    WHERE paces.scope = pace.scope AND paces.route = pace.route
$$;

-- The runs that wait, in the order of their turns: how much each had, with its weight, how many
-- tokens it wants, and whether they are due now.
CREATE FUNCTION SCHEMA.waiting_runs(pace SCHEMA.paces)
RETURNS TABLE (
    id text, place bigint, had integer, weight integer, wanted integer, is_due boolean
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT waiting.id,
        row_number() OVER (ORDER BY waiting.had, waiting.since, waiting.id) - 1,
        waiting.had, waiting.weight, waiting.wanted, waiting.due <= pace.used_at + 0.1
    FROM (
        SELECT key AS id,
            (value ->> 'weight')::integer AS weight,
            (value ->> 'wanted')::integer AS wanted,
            (value ->> 'since')::double precision AS since,
            (value ->> 'due')::double precision AS due,
            cardinality(array_positions(pace.taken_by, key)) * (value ->> 'weight')::integer AS had
        FROM jsonb_each(pace.runs)
        WHERE value ? 'due'
    ) AS waiting
    WHERE waiting.due > pace.used_at - 2
$$;

CREATE FUNCTION SCHEMA.take_token(
    of_scope text, of_route text, run text, label text, weight integer, wanted integer,
    configured integer, window_seconds double precision, earlier double precision[]
) RETURNS TABLE (
    now double precision, wait_seconds double precision, per_window integer,
    ages double precision[], others text[]
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    pace SCHEMA.paces := SCHEMA.lock_pace(
        of_scope, of_route, run, label, weight, window_seconds, earlier);
    moment double precision := pace.used_at;
    unit double precision := window_seconds / 61;
    used integer := cardinality(pace.taken_at);
    most integer := coalesce(configured, pace.per_window);
    grows_at double precision;
    since double precision;
    ahead integer;
    turn integer;
    mine integer;
    free_at double precision;
    is_granted boolean;
BEGIN
    -- Raise a limit that was used in full: an estimate soon, a measured one in quiet times.
    IF configured IS NULL AND used >= most THEN
        IF pace.is_measured AND most > pace.passed AND pace.refused_at < pace.changed_at
            AND moment > pace.taken_at[used] + 5 * unit
        THEN
            pace.is_measured := false;  -- more got through than was measured
            pace.rounds := 0;
        END IF;
        grows_at := greatest(pace.changed_at, pace.refused_at);
        grows_at := greatest(pace.resume_at, grows_at + CASE
            WHEN pace.is_measured THEN pace.quiet_windows * window_seconds
            ELSE unit * least(2.0 ^ (pace.rounds + 1), 15) END);
        IF moment >= grows_at THEN
            pace.passed := used;
            most := used + CASE WHEN pace.is_measured THEN 1 ELSE greatest(1, used / 4) END;
            pace.per_window := most;
            pace.changed_at := moment;
            grows_at := NULL;
        END IF;
    END IF;

    -- Take a place among the runs that wait.
    since := coalesce((pace.runs -> run ->> 'since')::double precision, moment);
    pace.runs := jsonb_set(pace.runs, ARRAY[run], (pace.runs -> run)
        || jsonb_build_object('since', since, 'due', moment, 'wanted', wanted));
    SELECT waiting.place, waiting.had INTO turn, mine
    FROM SCHEMA.waiting_runs(pace) AS waiting WHERE id = run;
    -- The tokens that others get before it is our turn.
    SELECT coalesce(sum(least(
        waiting.wanted, greatest(1, ceil((mine - waiting.had) / waiting.weight::real))
    )), 0) INTO ahead
    FROM SCHEMA.waiting_runs(pace) AS waiting
    WHERE waiting.place < turn AND waiting.is_due;

    is_granted := moment >= pace.resume_at AND (
        most IS NULL
        OR used + ahead < most
        -- The first request after a wait goes at the time that the server gave.
        OR configured IS NULL AND pace.has_server_wait AND NOT pace.is_measured
            AND coalesce(pace.taken_at[used], 0) < pace.resume_at
    );
    IF is_granted THEN
        pace.taken_at := pace.taken_at || moment;
        pace.taken_by := pace.taken_by || run;
        used := used + 1;
        pace.runs := jsonb_set(pace.runs, ARRAY[run], CASE
            WHEN wanted > 1 THEN (pace.runs -> run)
                || jsonb_build_object('since', moment, 'wanted', wanted - 1)
            ELSE (pace.runs -> run) - 'since' - 'due' END);
        wait_seconds := 0;
    ELSE
        -- Whose turn it is shows when the next token is free: shares change until then. Of many
        -- runs, the last ones come a little later. Free tokens are kept for runs that are due.
        free_at := CASE
            WHEN most IS NULL THEN moment
            WHEN used < most THEN moment + 2.05
            WHEN turn < 8 THEN pace.taken_at[used - most + 1] + window_seconds
            ELSE pace.taken_at[used - most + 1] + window_seconds + 2.05 END;
        free_at := greatest(pace.resume_at, least(free_at, grows_at));
        wait_seconds := greatest(0.05, free_at - moment);
        pace.runs := jsonb_set(pace.runs, ARRAY[run, 'due'], to_jsonb(moment + wait_seconds));
    END IF;
    PERFORM SCHEMA.save_pace(pace);
    now := moment;
    per_window := most;
    SELECT array_agg(moment - at ORDER BY at) INTO ages FROM unnest(pace.taken_at) AS at;
    SELECT array_agg(entry ->> 'label' ORDER BY entry ->> 'label') INTO others
    FROM jsonb_each(pace.runs) AS runs (id, entry)
    WHERE id <> run AND (
        (entry ->> 'due')::double precision > moment - 2 OR id = ANY (pace.taken_by));
    RETURN NEXT;
END $$;

CREATE FUNCTION SCHEMA.refuse_token(
    of_scope text, of_route text, run text, label text, weight integer,
    configured integer, window_seconds double precision, earlier double precision[],
    taken double precision, server_wait double precision
) RETURNS TABLE (now double precision, wait_seconds double precision, per_window integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    pace SCHEMA.paces := SCHEMA.lock_pace(
        of_scope, of_route, run, label, weight, window_seconds, earlier);
    moment double precision := pace.used_at;
    unit double precision := window_seconds / 61;
    passed integer;
    place integer;
    is_round boolean := moment >= pace.resume_at;
    is_lone boolean := moment - pace.refused_at > window_seconds;
BEGIN
    -- A refused request does not use up the allowance: remove its token.
    SELECT known.place INTO place
    FROM unnest(pace.taken_at, pace.taken_by) WITH ORDINALITY AS known (at, by, place)
    WHERE known.by = run AND abs(known.at - taken) < 0.01
    ORDER BY abs(known.at - taken) LIMIT 1;
    IF place IS NOT NULL THEN
        pace.taken_at := pace.taken_at[:place - 1] || pace.taken_at[place + 1:];
        pace.taken_by := pace.taken_by[:place - 1] || pace.taken_by[place + 1:];
    END IF;
    SELECT count(*) INTO passed FROM unnest(pace.taken_at) AS at WHERE at > moment - 60 * unit;

    IF is_round THEN  -- requests in flight together are refused together
        IF is_lone THEN pace.rounds := 0; END IF;
        pace.rounds := least(pace.rounds + 1, 10);
        pace.refused_at := moment;
    END IF;
    IF is_lone AND server_wait < 5 * unit AND (
        pace.per_window IS NULL OR pace.is_measured AND passed < 0.75 * pace.passed
    ) THEN
        NULL;  -- a hiccup of the server, no evidence of a limit
    ELSIF moment < pace.began_at + 60 * unit THEN
        -- An earlier run may have used a part of the allowance: an estimate.
        pace.per_window := greatest(1, passed + (server_wait IS NULL AND passed < 3)::integer);
        pace.passed := pace.per_window;
        pace.is_measured := false;
        pace.changed_at := moment;
    ELSE
        IF is_round THEN
            pace.quiet_windows := CASE
                WHEN passed < 0.75 * pace.passed THEN 1
                ELSE least(2 * pace.quiet_windows, 30) END;
        END IF;
        pace.per_window := greatest(3, passed);
        pace.passed := pace.per_window;
        pace.is_measured := true;
        pace.changed_at := moment;
    END IF;
    pace.has_server_wait := server_wait IS NOT NULL;
    pace.resume_at := greatest(pace.resume_at, moment + CASE
        WHEN server_wait IS NULL THEN unit * least(2.0 ^ (pace.rounds - 1), 15)
        ELSE least(server_wait, 120) END);
    PERFORM SCHEMA.save_pace(pace);
    now := moment;
    per_window := coalesce(configured, pace.per_window);
    wait_seconds := greatest(0, pace.resume_at - moment);
    RETURN NEXT;
END $$;

REVOKE ALL ON FUNCTION
    SCHEMA.lock_pace(text, text, text, text, integer, double precision, double precision[]),
    SCHEMA.save_pace(SCHEMA.paces),
    SCHEMA.waiting_runs(SCHEMA.paces),
    SCHEMA.take_token(
        text, text, text, text, integer, integer, integer, double precision, double precision[]),
    SCHEMA.refuse_token(
        text, text, text, text, integer, integer, double precision, double precision[],
        double precision, double precision)
FROM PUBLIC;
"""
"""The statements that add the pace to the tables. Released versions of it never change."""

PACE_GRANTS = """\
GRANT SELECT ON SCHEMA.paces TO ROLE;
GRANT EXECUTE ON FUNCTION SCHEMA.take_token, SCHEMA.refuse_token TO ROLE;
"""
"""The grants for a role that shares the pace. Without them, each run keeps a pace of its own."""

TAKE = """
SELECT now, wait_seconds, per_window, ages, others
FROM SCHEMA.take_token(
    %(scope)s::text, %(route)s::text, %(run)s::text, %(label)s::text, %(weight)s::integer,
    %(wanted)s::integer, %(limit)s::integer, %(window)s::float8, %(earlier)s::float8[]
)
"""

REFUSE = """
SELECT now, wait_seconds, per_window, NULL, NULL
FROM SCHEMA.refuse_token(
    %(scope)s::text, %(route)s::text, %(run)s::text, %(label)s::text, %(weight)s::integer,
    %(limit)s::integer, %(window)s::float8, %(earlier)s::float8[],
    %(taken)s::float8, %(wait)s::float8
)
"""

USES = """
SELECT route, per_window, label, count(*)::integer
FROM SCHEMA.paces
    LEFT JOIN LATERAL (
        SELECT runs -> taken.by ->> 'label' AS label
        FROM unnest(taken_at, taken_by) AS taken (at, by)
        WHERE at > extract(epoch FROM clock_timestamp()) - %(window)s::float8
    ) AS used ON true
WHERE scope = %(scope)s::text AND (per_window IS NOT NULL OR label IS NOT NULL)
GROUP BY route, per_window, label
ORDER BY route, 4 DESC, label
"""
