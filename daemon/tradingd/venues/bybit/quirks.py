"""Bybit V5 linear as data."""

from tradingd.venues.bybit.limits import ENDPOINTS, HEADERS, ROLLING
from tradingd.venues.quirks import Quirk, Quirks

_DAY_MS = 86_400_000

BYBIT = Quirks(
    ccxt_id="bybit",
    stream_kinds=Quirk(
        {"/v5/public/linear": "candles", "/v5/private": "account"},
        why="market data and the account have an address each",
        source="Bybit V5: Connect (websocket); ccxt 4.5.90 get_url_by_market_type",
        test="test_the_path_of_a_stream_tells_its_kind",
    ),
    options=Quirk(
        {
            "fetchMarkets": {"types": ["linear"]},
            "defaultType": "swap",
            "enableUnifiedMargin": False,
            "enableUnifiedAccount": True,
            "unifiedMarginStatus": 6,
        },
        why="ccxt loads eleven lists of markets, and asks twice for the kind of account before the first private call: "
        "a timeout there would look like that of an order",
        source="measured with ccxt 4.5.90",
        test="test_opening_asks_for_the_linear_markets_and_nothing_signed",
    ),
    receive_window_ms=Quirk(
        3_000,
        why="half of the fence: a request older than this is refused at the venue's gate",
        source="Bybit V5: Integration Guidance (X-BAPI-RECV-WINDOW: default 5,000, ours to choose)",
        test="test_an_order_is_signed_with_the_journalled_time_and_our_window",
    ),
    visibility_margin_ms=Quirk(
        5_000,
        why="a create is acknowledged before it is checked, and history may lag behind; the venue names no bound",
        source="Bybit V5: Place Order (asynchronous), Get Order History (may delay); not documented: to be measured",
        test="test_the_fence_waits_longer_for_a_venue_that_checks_after_its_answer",
    ),
    order_books=Quirk(
        ("linear",),
        why="one list shows plain and conditional orders, and an order keeps its id when it fires",
        source="Bybit V5: Get Open & Closed Orders (orderFilter)",
        test="test_a_fired_stop_is_triggered_under_its_own_id",
    ),
    ack_is_acceptance=Quirk(
        False,
        why="the answer to a create comes before the checks: a rejection is told later, by the stream",
        source="Bybit V5: Place Order; measured with ccxt 4.5.90",
        test="test_an_ack_proves_that_the_order_is_submitted_and_no_more",
    ),
    close_position_stops=Quirk(
        False,
        why="a conditional order of its own has a quantity here; what follows a position is its own stop",
        source="Bybit V5: Place Order (qty 0 with closeOnTrigger); Set Trading Stop",
        test="test_a_stop_has_a_quantity_a_direction_and_the_mark_price",
    ),
    conditional_orders=Quirk(
        None,
        why="ten may wait for each symbol, and a position needs three at most: no position takes the room of another",
        source="Bybit V5: Place Order (10 conditional orders per symbol); Error Codes (110009)",
        test="test_positions_on_many_symbols_take_no_conditional_order_from_each_other",
    ),
    orders_kept_ms=Quirk(
        _DAY_MS,
        why="an order that was cancelled or rejected without a fill is in the history for 24 hours",
        source="Bybit V5: Get Order History",
        test="test_orders_that_ended_without_a_fill_are_known_for_a_day",
    ),
    http_keepalive_s=Quirk(
        15.0,
        why="a POST on a connection that the venue closes at that moment is in doubt; ours must end first",
        source="not documented by the venue; ccxt's own figure, in wide use",
        test="test_times_of_reads_and_connections_are_those_of_the_other_venues",
    ),
    read_hedge_s=Quirk(
        0.7,
        why="so long after it left, a read that a stop may wait for gets a second copy",
        source="not documented by the venue; as for Binance",
        test="test_times_of_reads_and_connections_are_those_of_the_other_venues",
    ),
    read_limit_s=Quirk(
        3.0,
        why="so long one copy of such a read is waited for: the receive window, after which the venue refuses it",
        source="receive_window_ms, above",
        test="test_times_of_reads_and_connections_are_those_of_the_other_venues",
    ),
    ping_interval_ms=Quirk(
        15_000,
        why="the venue ends a connection without a ping, and asks for one each 20 s; ccxt finds a mute one after 52 s",
        source="Bybit V5: Connect (ping each 20 s); measured with ccxt 4.5.90",
        test="test_pings_are_text_sent_in_time",
    ),
    ws_message_interval_s=Quirk(
        0.125,
        why="subscriptions are spaced as everywhere; the venue names a limit of connections, not of messages",
        source="Bybit V5: Rate Limit Rules (websocket: 500 connections in 5 minutes)",
        test="test_subscriptions_to_candles_are_paced",
    ),
    connection_is_subscription=Quirk(
        False,
        why="a private connection is authenticated, then topics are asked for and confirmed",
        source="Bybit V5: Connect (authentication, subscription); measured with ccxt 4.5.90",
        test="test_subscriptions_of_the_account_are_one_message",
    ),
    protection_by_state=Quirk(
        True,
        why="stop and take profit of a position follow its size, are idempotent, need no id, and end with it",
        source="Bybit V5: Set Trading Stop (tpslMode Full)",
        test="test_protection_is_set_for_the_whole_position_by_the_mark_price",
    ),
    account_key_interval_ms=Quirk(
        _DAY_MS,
        why="there is no key to prolong: the connection was authenticated when it was made",
        source="Bybit V5: Connect (authentication)",
        test="test_there_is_no_key_of_the_account_stream",
    ),
    fills_window_ms=Quirk(
        7 * _DAY_MS,
        why="execution/list answers for at most seven days at a time",
        source="Bybit V5: Get Trade History",
        test="test_fills_are_read_over_every_window_and_page",
    ),
    fills_retention_ms=Quirk(
        729 * _DAY_MS,
        why="the venue keeps two years of executions; asking for more is an error",
        source="Bybit V5: Get Trade History",
        test="test_fills_older_than_the_venue_keeps_are_not_asked_for",
    ),
    page_limit=Quirk(
        50,
        why="the longest page of order/realtime; the default of 20 would hide the rest",
        source="Bybit V5: Get Open & Closed Orders; measured with ccxt 4.5.90",
        test="test_open_orders_are_read_to_the_last_page",
    ),
    candles_limit=Quirk(
        1_000,
        why="the longest page of kline",
        source="Bybit V5: Get Kline",
        test="test_candles_come_ascending_and_the_last_is_forming",
    ),
    rate_windows=Quirk(
        (),
        why="the venue counts in no window of the clock",
        source="Bybit V5: Rate Limit Rules",
        test="test_the_plan_knows_every_endpoint_that_the_adapter_calls",
    ),
    weights=Quirk(
        dict.fromkeys(ENDPOINTS, 1),
        why="each request counts as one; ccxt lets 20 creates a second go, where the venue takes 10",
        source="Bybit V5: Rate Limit Rules; measured with ccxt 4.5.90",
        test="test_the_plan_knows_every_endpoint_that_the_adapter_calls",
    ),
    order_endpoints=Quirk(
        frozenset({"POST /v5/order/create"}),
        why="the endpoint of all orders",
        source="Bybit V5: Place Order",
        test="test_the_plan_knows_every_endpoint_that_the_adapter_calls",
    ),
    rolling_limits=Quirk(
        ROLLING,
        why="the venue counts a rolling second per account and endpoint, five of them per address, and dials",
        source="Bybit V5: Rate Limit Rules",
        test="test_many_entries_and_one_exit_beside_another_process_are_never_too_many_and_the_exit_leaves_first",
    ),
    rolling_headers=Quirk(
        HEADERS,
        why="each private answer tells the limit of its endpoint and what is left of it",
        source="Bybit V5: Rate Limit Rules (X-Bapi-Limit, X-Bapi-Limit-Status, X-Bapi-Limit-Reset-Timestamp)",
        test="test_what_another_process_has_spent_is_learnt_from_the_answer_and_not_by_a_refusal",
    ),
)
