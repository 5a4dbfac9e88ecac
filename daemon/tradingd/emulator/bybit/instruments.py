"""What the built-in Bybit lists: the filters of the real venue in autumn 2026, fees of an account without VIP level."""

from __future__ import annotations

from decimal import Decimal

from tradingd.emulator.core.instruments import Instrument, perpetual

TAKER_FEE, MAKER_FEE = Decimal("0.00055"), Decimal("0.0002")
DEFAULT_LEVERAGE = 10

BYBIT_INSTRUMENTS: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        perpetual("BTC", "0.1", 2, "0.001", (1190, 500), 5, "65000", 100, 2_000_000, "0.05"),
        perpetual("ETH", "0.01", 2, "0.01", (7240, 724), 5, "3400", 100, 900_000, "0.05"),
        perpetual("SOL", "0.01", 3, "0.1", (79_770, 10_810), 5, "160", 100, 200_000, "0.05"),
        perpetual("DOGE", "0.00001", 5, "1", (36_640_000, 8_700_000), 5, "0.18", 75, 100_000, "0.05"),
        perpetual("XRP", "0.0001", 4, "0.1", (3_000_000, 1_100_000), 5, "2.2", 75, 100_000, "0.05"),
    )
}
