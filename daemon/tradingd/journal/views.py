"""The views that analysts may rely on: names and columns stay, columns are only ever added. docs/journal.md lists them.

Made again at each start when their text here has changed. Text only, so that the read-only commands can name them
without loading the database libraries.
"""

UNITS = 10_000_000
"""Quantities are summed as whole multiples of 1e-7, below every lot size: a sum of floats would miss zero by a hair."""

_TRADE_NUMBER = "CASE WHEN f.trade_id GLOB '*[^0-9]*' THEN 0 ELSE CAST(f.trade_id AS INTEGER) END"
"""Fills of the same ms in the order of the venue's numbers, where it numbers them; else as they were written."""

_ORDER_OF_FILL = """coalesce(f.client_order_id, (
        SELECT p.client_order_id FROM orders p
        WHERE p.venue = f.venue AND p.symbol = f.symbol AND p.venue_order_id = f.venue_order_id
        UNION ALL
        SELECT c.client_order_id FROM orders c
        WHERE c.venue = f.venue AND c.symbol = f.symbol AND c.child_venue_order_id = f.venue_order_id
        LIMIT 1
    ))"""

# How a trade ended is told by its own closing fill and that fill's order alone: `last_closes` knows the newest close
# of an instrument only, and a row that once was true must stay so.
_EXIT_BY = """CASE
        WHEN l.purpose IN ('stop', 'bridge') THEN 'stop_loss'
        WHEN l.purpose IS NOT NULL THEN l.purpose
        ELSE coalesce(nullif(l.fill_reason, ''), 'foreign')
    END"""

_EXIT_REASON = f"""coalesce(
        nullif(l.order_reason, ''),
        nullif(CASE WHEN json_valid(i.payload_json) THEN json_extract(i.payload_json, '$.reason') END, ''),
        {_EXIT_BY}
    )"""

_V_ORDERS = """
    SELECT o.created_iso AS created, o.client_order_id, o.venue, o.symbol, o.strategy, o.purpose, o.side, o.kind,
        o.status, o.quantity, o.filled_quantity, o.booked_quantity, o.limit_price, o.trigger_price, o.average_price,
        o.reference_price,
        CASE o.side WHEN 'buy' THEN 1 ELSE -1 END * (o.average_price - o.reference_price) / o.reference_price * 1e4
            AS slippage_bps,
        o.reduce_only, o.close_position, o.post_only, o.time_in_force, o.reject_code, o.reason, o.intent_id,
        i.decision, o.venue_order_id, o.child_venue_order_id, o.signed_iso AS signed, o.updated_iso AS updated,
        o.created_ms, o.updated_ms
    FROM orders o LEFT JOIN intents i ON i.intent_id = o.intent_id
"""

_V_FILLS = f"""
    SELECT f.time_iso AS time, f.venue, f.symbol, f.trade_id, f.side, f.quantity, f.price,
        f.quantity * f.price AS notional, f.fee, f.fee_currency, f.realized_pnl, f.maker, o.client_order_id,
        f.venue_order_id, o.strategy, o.purpose, o.intent_id,
        CASE f.side WHEN 'buy' THEN 1 ELSE -1 END * (f.price - o.reference_price) / o.reference_price * 1e4
            AS slippage_bps,
        f.reason, f.time_ms
    FROM fills f LEFT JOIN orders o ON o.client_order_id = {_ORDER_OF_FILL}
"""

# A fill that turns the position around is two legs: one closes a trade, the other opens the next.
_V_TRADES = f"""
    WITH steps AS (
        SELECT f.sequence, f.venue, f.symbol, f.time_ms, f.trade_id, {_TRADE_NUMBER} AS number, f.price, f.fee,
            f.fee_currency = substr(f.symbol, instr(f.symbol, ':') + 1) AS fee_settles, f.reason AS fill_reason,
            CASE f.side WHEN 'buy' THEN 1 ELSE -1 END AS sign,
            CAST(round(f.quantity * {UNITS}) AS INTEGER) AS units,
            o.client_order_id, o.strategy, o.purpose, o.intent_id, o.reference_price, o.reason AS order_reason
        FROM fills f LEFT JOIN orders o ON o.client_order_id = {_ORDER_OF_FILL}
    ),
    running AS (
        SELECT s.*, sum(s.sign * s.units) OVER (
                PARTITION BY s.venue, s.symbol ORDER BY s.time_ms, s.number, s.sequence
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS held_after
        FROM steps s
    ),
    turned AS (
        SELECT r.*, r.held_after - r.sign * r.units AS held_before,
            (r.held_after > 0 AND r.held_after < r.units AND r.sign > 0)
            OR (r.held_after < 0 AND -r.held_after < r.units AND r.sign < 0) AS flips
        FROM running r
    ),
    legs AS (
        SELECT t.*, 0 AS leg, t.held_before AS leg_before,
            CASE WHEN t.flips THEN 0 ELSE t.held_after END AS leg_after,
            CASE WHEN t.flips THEN abs(t.held_before) ELSE t.units END AS leg_units
        FROM turned t
        UNION ALL
        SELECT t.*, 1, 0, t.held_after, abs(t.held_after) FROM turned t WHERE t.flips
    ),
    numbered AS (
        SELECT l.*, l.leg_units * 1.0 / {UNITS} AS leg_quantity,
            l.leg_before <> 0 AND (l.leg_before > 0) <> (l.sign > 0) AS closes,
            l.sign * (l.price - l.reference_price) / l.reference_price * 1e4 AS slippage_bps,
            sum(l.leg_before = 0) OVER (
                PARTITION BY l.venue, l.symbol ORDER BY l.time_ms, l.number, l.sequence, l.leg
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS trade
        FROM legs l
    ),
    closed AS (
        SELECT n.venue, n.symbol, n.trade,
            max(CASE WHEN n.leg_before = 0 THEN n.strategy END) AS strategy,
            max(CASE WHEN n.leg_before = 0 THEN CASE WHEN n.sign > 0 THEN 'long' ELSE 'short' END END) AS direction,
            max(CASE WHEN n.leg_before = 0 THEN n.client_order_id END) AS entry_order,
            min(n.time_ms) AS opened_ms, max(n.time_ms) AS closed_ms,
            sum(CASE WHEN n.closes THEN 0 ELSE n.leg_quantity END) AS quantity,
            sum(CASE WHEN n.closes THEN 0 ELSE n.leg_quantity * n.price END)
                / sum(CASE WHEN n.closes THEN 0 ELSE n.leg_quantity END) AS entry_price,
            sum(CASE WHEN n.closes THEN n.leg_quantity * n.price END)
                / sum(CASE WHEN n.closes THEN n.leg_quantity END) AS exit_price,
            sum(-n.sign * n.leg_quantity * n.price) AS gross_pnl,
            sum(CASE WHEN n.fee_settles THEN n.fee * n.leg_units / n.units ELSE 0 END) AS fees,
            sum(NOT n.fee_settles AND n.fee <> 0) AS fees_in_other_currency,
            sum(CASE WHEN NOT n.closes THEN n.slippage_bps * n.leg_quantity END)
                / sum(CASE WHEN NOT n.closes AND n.slippage_bps IS NOT NULL THEN n.leg_quantity END)
                AS entry_slippage_bps,
            sum(CASE WHEN n.closes THEN n.slippage_bps * n.leg_quantity END)
                / sum(CASE WHEN n.closes AND n.slippage_bps IS NOT NULL THEN n.leg_quantity END) AS exit_slippage_bps,
            count(DISTINCT n.sequence) AS fills,
            max(CASE WHEN n.leg_after = 0 THEN n.sequence END) AS closing_fill
        FROM numbered n GROUP BY n.venue, n.symbol, n.trade
        HAVING sum(n.leg_after = 0) > 0
    ),
    funded AS (
        SELECT c.*, coalesce((
                SELECT sum(m.amount) FROM ledger m
                WHERE m.venue = c.venue AND m.symbol = c.symbol AND m.kind = 'funding'
                    AND m.time_ms > c.opened_ms AND m.time_ms <= c.closed_ms
            ), 0.0) AS funding
        FROM closed c
    )
    SELECT strftime('%Y-%m-%dT%H:%M:%fZ', c.opened_ms / 1000.0, 'unixepoch') AS opened,
        strftime('%Y-%m-%dT%H:%M:%fZ', c.closed_ms / 1000.0, 'unixepoch') AS closed,
        c.venue, c.symbol, c.strategy, c.direction, c.quantity, c.entry_price, c.exit_price, c.gross_pnl, c.fees,
        c.funding, c.gross_pnl - c.fees + c.funding AS pnl, c.entry_slippage_bps, c.exit_slippage_bps,
        (c.closed_ms - c.opened_ms) / 1000.0 AS held_s, {_EXIT_BY} AS exit_by, {_EXIT_REASON} AS exit_reason,
        c.fills, c.fees_in_other_currency, c.entry_order, l.client_order_id AS exit_order,
        l.trade_id AS exit_trade_id, c.opened_ms, c.closed_ms
    FROM funded c
    JOIN steps l ON l.sequence = c.closing_fill
    LEFT JOIN intents i ON i.intent_id = l.intent_id
"""

_V_POSITIONS = """
    SELECT p.venue, p.symbol, CASE WHEN p.quantity > 0 THEN 'long' ELSE 'short' END AS direction, p.quantity,
        p.entry_price, abs(p.quantity) * p.entry_price AS entry_notional, p.strategy, p.opened_iso AS opened,
        r.state AS protection, r.stop_loss, r.take_profit, r.stop_order, r.take_profit_order,
        p.updated_iso AS updated, p.opened_ms, p.updated_ms
    FROM positions p LEFT JOIN protection r ON r.venue = p.venue AND r.symbol = p.symbol
    WHERE p.quantity <> 0
"""

_V_DECISIONS = """
    SELECT d.time_iso AS time, d.strategy, d.venue, d.symbol, d.cause, d.outcome,
        (SELECT count(*) FROM intents i WHERE i.decision = d.key) AS intents,
        (SELECT group_concat(i.kind || ':' || coalesce(i.outcome, 'open'), ' ') FROM intents i
            WHERE i.decision = d.key) AS intent_outcomes,
        (SELECT group_concat(n.reason, '; ') FROM notes n WHERE n.decision = d.key) AS notes,
        d.late, d.duration_us, d.error, d.code_sha256, d.key AS decision, d.time_ms
    FROM decisions d
"""

_V_REJECTIONS = """
    SELECT i.created_iso AS time, 'denied' AS by, i.venue, i.symbol, i.strategy, i.kind AS what, i.reason,
        NULL AS raw_code, i.detail, i.intent_id, NULL AS client_order_id, i.created_ms AS time_ms
    FROM intents i WHERE i.outcome IN ('denied', 'failed')
    UNION ALL
    SELECT e.time_iso, 'venue', o.venue, o.symbol, o.strategy, o.purpose, coalesce(nullif(o.reason, ''), e.event),
        coalesce(e.raw_code, o.reject_code), e.detail, o.intent_id, e.client_order_id, e.time_ms
    FROM order_events e LEFT JOIN orders o ON o.client_order_id = e.client_order_id
    WHERE e.event IN ('reject', 'not_found')
    UNION ALL
    SELECT s.time_iso, 'venue', s.venue, s.symbol, s.strategy, 'set_protection', s.why, s.raw_code, s.detail,
        s.intent_id, NULL, s.time_ms
    FROM protection_sets s WHERE s.outcome = 'refused'
"""

_V_DAILY_PNL = """
    WITH traded AS (
        SELECT substr(closed, 1, 10) AS day, venue, count(*) AS trades, sum(pnl > 0) AS winners,
            sum(gross_pnl) AS gross_pnl, sum(fees) AS fees, sum(funding) AS funding, sum(pnl) AS pnl
        FROM v_trades GROUP BY 1, 2
    ),
    days AS (SELECT day, venue FROM traded UNION SELECT day, venue FROM day_equity)
    SELECT d.day, d.venue, coalesce(t.trades, 0) AS trades, coalesce(t.winners, 0) AS winners,
        coalesce(t.gross_pnl, 0.0) AS gross_pnl, coalesce(t.fees, 0.0) AS fees, coalesce(t.funding, 0.0) AS funding,
        coalesce(t.pnl, 0.0) AS pnl, e.equity AS equity_at_start, e.transfers,
        coalesce(t.pnl, 0.0) / e.equity AS pnl_fraction
    FROM days d
    LEFT JOIN traded t ON t.day = d.day AND t.venue = d.venue
    LEFT JOIN day_equity e ON e.day = d.day AND e.venue = d.venue
"""

_V_LATENCY = """
    WITH timed AS (
        SELECT o.*, d.time_ms AS decided_ms, d.duration_us AS handler_us,
            (SELECT min(e.time_ms) FROM order_events e WHERE e.client_order_id = o.client_order_id
                AND e.event NOT IN ('submit', 'deny', 'time_out')) AS answered_ms,
            (SELECT min(f.time_ms) FROM fills f WHERE f.client_order_id = o.client_order_id) AS first_fill_ms,
            (SELECT count(*) FROM order_events e WHERE e.client_order_id = o.client_order_id
                AND e.event = 'time_out') AS times_in_doubt
        FROM orders o
        LEFT JOIN intents i ON i.intent_id = o.intent_id
        LEFT JOIN decisions d ON d.key = i.decision
        WHERE o.signed_ms > 0
    )
    SELECT t.signed_iso AS signed, t.client_order_id, t.venue, t.symbol, t.strategy, t.purpose, t.kind, t.status,
        t.handler_us, t.signed_ms - t.decided_ms AS decision_to_signed_ms,
        t.answered_ms - t.signed_ms AS signed_to_answer_ms, t.first_fill_ms - t.signed_ms AS signed_to_fill_ms,
        t.times_in_doubt, t.signed_ms
    FROM timed t
"""

_V_INCIDENTS = """
    SELECT i.raised_iso AS raised, i.severity, i.kind, i.venue, i.symbol, i.strategy, i.detail,
        i.acknowledged_ms IS NOT NULL AS acknowledged, i.acknowledged_iso AS acknowledged_at, i.incident_id,
        i.raised_ms
    FROM incidents i
"""

_V_LAST_CLOSES = """
    SELECT c.venue, c.symbol, c.close_iso AS closed, c.cause, c.strategy, c.trade_id, f.price, f.side, c.close_ms
    FROM last_closes c
    LEFT JOIN fills f ON f.venue = c.venue AND f.symbol = c.symbol AND f.trade_id = c.trade_id
"""

VIEWS: dict[str, str] = {
    "v_orders": _V_ORDERS,
    "v_fills": _V_FILLS,
    "v_trades": _V_TRADES,
    "v_positions": _V_POSITIONS,
    "v_decisions": _V_DECISIONS,
    "v_rejections": _V_REJECTIONS,
    "v_daily_pnl": _V_DAILY_PNL,
    "v_latency": _V_LATENCY,
    "v_incidents": _V_INCIDENTS,
    "v_last_closes": _V_LAST_CLOSES,
}
"""The text of each view by its name, in the order in which they can be made."""
