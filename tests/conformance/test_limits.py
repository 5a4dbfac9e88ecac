"""What a request costs: our budget takes for it what the venue counts, to the unit."""

from tests.conformance.bench import Bench
from tests.conformance.cases import case, not_applicable
from tradingd.domain.account import CancelVerdict, SubmitVerdict
from tradingd.ports import Priority


async def every_call(bench: Bench) -> None:
    """Each method of the port, with and without what its weight may depend on."""
    venue = bench.venue
    await venue.server_time_ms()
    await venue.preflight()
    await venue.load_instruments()
    await venue.prepare(bench.btc, 7, "cross")
    await venue.mark_price(bench.btc)
    for limit in (5, 99, 100, 499, 500, 1000, 1400):
        await venue.candles(bench.btc, "1m", bench.clock.now_ms() - limit * 60_000, limit)
    await bench.listen()
    await bench.bought()
    resting, stop = await bench.resting(), await bench.stop()
    for request in (resting, stop):
        order = await bench.placed(request)
        assert (await venue.cancel(order, Priority.CANCEL)).verdict is CancelVerdict.CANCELED
    assert await bench.find(bench.order()) is None
    assert await bench.find(await bench.stop()) is None
    for instrument in (bench.btc, None):
        await venue.open_orders(instrument, Priority.RECONCILE)
    await bench.fills()
    await bench.account()
    await venue.bookings(bench.clock.now_ms() - 60_000, Priority.RECONCILE)
    if (state := venue.state_protection) is not None:
        await state.set(bench.btc, await bench.price("0.98"), None, Priority.PROTECT)
        await state.read(bench.btc, Priority.PROTECT)


@case
async def test_every_request_costs_what_the_venue_counts(bench: Bench) -> None:
    if bench.face.tolls() is None:
        not_applicable("there is no wire, and nobody counts")
    await every_call(bench)
    tolls = bench.face.tolls() or []
    assert len({toll.endpoint for toll in tolls}) > 15, "few endpoints were asked"
    wrong = {toll.endpoint: (toll.taken, toll.counted) for toll in tolls if toll.taken != toll.counted}
    assert not wrong


@case
async def test_a_refused_order_costs_as_much_as_one_that_is_taken(bench: Bench) -> None:
    if bench.face.tolls() is None:
        not_applicable("there is no wire, and nobody counts")
    before = len(bench.face.tolls() or [])
    outcome = await bench.send(bench.order("0"))
    assert outcome.verdict is SubmitVerdict.NOT_EXECUTED
    (toll,) = (bench.face.tolls() or [])[before:]
    assert toll.taken == toll.counted
