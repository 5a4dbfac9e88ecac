"""Binance USDT-M as data."""

from tradingd.venues.quirks import Quirk, Quirks

_DAY_MS = 86_400_000

_WEIGHTS = {
    "POST fapi/v1/order": 0,
    "POST fapi/v1/algoOrder": 0,
    "GET fapi/v1/openOrders?all": 40,
    "GET fapi/v1/openAlgoOrders?all": 40,
    "GET fapi/v3/account": 5,
    "GET fapi/v3/balance": 5,
    "GET fapi/v3/positionRisk": 5,
    "GET fapi/v1/userTrades": 5,
    "GET fapi/v1/allOrders": 5,
    "GET fapi/v1/accountConfig": 5,
    "GET fapi/v1/positionSide/dual": 30,
    "GET fapi/v1/income": 30,
    "GET fapi/v1/klines": 1,
    "GET fapi/v1/klines?100": 2,
    "GET fapi/v1/klines?500": 5,
    "GET fapi/v1/klines?1001": 10,
    "DIAL candles": 0,
    "DIAL account": 0,
}

BINANCE = Quirks(
    ccxt_id="binanceusdm",
    stream_kinds=Quirk(
        {"/market/ws": "candles", "/private/ws": "account"},
        why="streams are routed by path since 2026-04-23; the unrouted root serves public ones only",
        source="Binance USDⓈ-M: Change Log; ccxt 4.5.90 get_ws_url",
        test="test_candles_and_account_have_a_connection_each",
    ),
    options=Quirk(
        {"watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False}},
        why="whoever watches the account's orders has ccxt read all positions, over three requests of its own; "
        "snapshots are our job",
        source="measured with ccxt 4.5.90",
        test="test_watching_the_account_asks_for_its_key_and_nothing_else",
    ),
    receive_window_ms=Quirk(
        3_000,
        why="half of the fence: a request older than this is refused at the venue's gate",
        source="Binance USDⓈ-M: General Info, Timing security (recvWindow: default 5,000, ours to choose)",
        test="test_an_order_is_signed_with_the_journalled_time_and_our_window",
    ),
    visibility_margin_ms=Quirk(
        2_000,
        why="time between the gate's check and the order showing up in look-ups; the venue names no bound",
        source="not documented: the largest lag that the built-in venue models, doubled; to be measured on testnet",
        test="test_the_fence_constants_grow_with_a_faster_built_in_venue",
    ),
    order_books=Quirk(
        ("plain", "algo"),
        why="conditional orders live in a service of their own since December 2025; neither list shows the other's",
        source="Binance USDⓈ-M: Change Log 2025-12-09; the lists measured with ccxt 4.5.90",
        test="test_open_orders_come_from_both_books",
    ),
    ack_is_acceptance=Quirk(
        True,
        why="the answer to a create comes after the engine's checks",
        source="Binance USDⓈ-M: New Order: the answer carries the order's status",
        test="test_an_accepted_order_carries_the_venues_id",
    ),
    close_position_stops=Quirk(
        True,
        why="closePosition needs no quantity, follows the position and is exempt from the notional filter",
        source="Binance USDⓈ-M: New Algo Order (closePosition); Error Codes (-4164)",
        test="test_a_close_position_stop_has_no_quantity_and_no_reduce_only",
    ),
    conditional_orders=Quirk(
        200,
        why="so many conditional orders may wait at a time on the whole account, and a stop beyond them is refused",
        source="Binance USDⓈ-M: Error Codes (-4045); Change Log 2025-12-29: the filter of each symbol is gone",
        test="test_the_venue_holds_as_many_conditional_orders_as_we_count_on_and_no_more",
    ),
    orders_kept_ms=Quirk(
        3 * 86_400_000,
        why="an order that ended without a fill is known for three days",
        source="Binance USDⓈ-M: Query Order; All Orders",
        test="test_orders_that_ended_without_a_fill_are_known_for_three_days",
    ),
    http_keepalive_s=Quirk(
        15.0,
        why="a POST on a connection that the venue closes at that moment is in doubt; ours must end first",
        source="not documented by the venue; ccxt's own figure, in wide use",
        test="test_an_idle_connection_is_given_up_before_the_venue_closes_it",
    ),
    read_hedge_s=Quirk(
        0.7,
        why="so long after it left, a read that a stop may wait for gets a second copy: more than nearly every answer "
        "takes, so that a venue that is well is asked once, and a small share of the 5 s that a position may be bare",
        source="not documented by the venue; its REST answers take 0.1 to 0.3 s, the slowest in a hundred below 1 s",
        test="test_a_read_whose_answer_is_lost_costs_less_than_a_second",
    ),
    read_limit_s=Quirk(
        3.0,
        why="so long one copy of such a read is waited for: the receive window, after which the venue refuses it "
        "anyway; shorter, and a venue that has become slow could not be read at all",
        source="receive_window_ms, above",
        test="test_a_venue_that_answers_no_read_is_given_up_within_seconds",
    ),
    ping_interval_ms=Quirk(
        15_000,
        why="ccxt's default of 180 s finds a half-open socket after 6 to 12 minutes",
        source="measured with ccxt 4.5.90",
        test="test_a_mute_connection_is_given_up_after_two_pings",
    ),
    ws_message_interval_s=Quirk(
        0.125,
        why="more than 10 messages per second on a connection end it",
        source="Binance USDⓈ-M: WebSocket Market Streams",
        test="test_subscriptions_on_one_connection_are_paced",
    ),
    connection_is_subscription=Quirk(
        True,
        why="the url with the listen key is the subscription to the account; no message asks for it or confirms it",
        source="Binance USDⓈ-M: User Data Streams; measured with ccxt 4.5.90",
        test="test_candles_and_account_have_a_connection_each",
    ),
    protection_by_state=Quirk(
        False,
        why="stop and take profit are orders with ids of ours, not a state of the position",
        source="Binance USDⓈ-M: New Algo Order",
        test="test_a_close_position_stop_has_no_quantity_and_no_reduce_only",
    ),
    account_key_interval_ms=Quirk(
        20 * 60_000,
        why="the listen key dies after 60 minutes, and ccxt renews it once only",
        source="Binance USDⓈ-M: User Data Streams; the renewal measured with ccxt 4.5.90",
        test="test_the_listen_key_is_renewed_again_and_again",
    ),
    fills_window_ms=Quirk(
        7 * _DAY_MS,
        why="userTrades answers for at most seven days at a time",
        source="Binance USDⓈ-M: Account Trade List",
        test="test_fills_are_read_over_every_window_and_page",
    ),
    fills_retention_ms=Quirk(
        90 * _DAY_MS,
        why="the venue keeps three months of trades since 2026-08-26; asking for more is an error",
        source="Binance USDⓈ-M: Change Log 2026-08-26",
        test="test_fills_older_than_the_venue_keeps_are_not_asked_for",
    ),
    page_limit=Quirk(
        1_000,
        why="the longest page of userTrades",
        source="Binance USDⓈ-M: Account Trade List",
        test="test_a_page_of_fills_is_the_longest_that_the_venue_gives",
    ),
    candles_limit=Quirk(
        1_000,
        why="longer pages of klines cost double",
        source="Binance USDⓈ-M: Kline Candlestick Data (1,500 at most)",
        test="test_candles_are_read_page_by_page",
    ),
    rate_windows=Quirk(
        (
            ("weight 1m", 60_000, 2_400, "X-MBX-USED-WEIGHT-1M", False),
            ("orders 10s", 10_000, 300, "X-MBX-ORDER-COUNT-10S", True),
            ("orders 1m", 60_000, 1_200, "X-MBX-ORDER-COUNT-1M", True),
        ),
        why="fixed clock windows: weight per IP, orders per account",
        source="Binance USDⓈ-M: Exchange Information (rateLimits); General Info",
        test="test_the_venues_windows_are_those_of_its_clock",
    ),
    weights=Quirk(
        _WEIGHTS,
        why="ccxt's costs are not the venue's weights",
        source="Binance USDⓈ-M: the request weight on each endpoint's page",
        test="test_the_rate_plan_knows_every_endpoint_that_the_adapter_calls",
    ),
    order_endpoints=Quirk(
        frozenset({"POST fapi/v1/order", "POST fapi/v1/algoOrder"}),
        why="these count as orders and cost no weight",
        source="Binance USDⓈ-M: New Order; New Algo Order (request weight)",
        test="test_the_rate_plan_knows_every_endpoint_that_the_adapter_calls",
    ),
    rolling_limits=Quirk(
        (),
        why="the venue counts by the minute of its clock",
        source="Binance USDⓈ-M: General Info, Limits",
        test="test_the_venues_windows_are_those_of_its_clock",
    ),
    rolling_headers=Quirk(
        None,
        why="its headers count what was used of each window",
        source="Binance USDⓈ-M: General Info, Limits",
        test="test_the_venues_windows_are_those_of_its_clock",
    ),
)
