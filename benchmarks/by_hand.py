"""What a person does at the venue beside the daemon: a fault script lets one trade, and that belongs to nobody here."""

from benchmarks.compare import Finding, Question

PREFIX = "web_"
"""How the venue's own pages begin a client order id."""


def without_hands(question: Question, findings: list[Finding]) -> list[Finding]:
    """The findings without what they say of a person's orders and fills: that these are not ours is right."""
    venue = question.venue
    # Bybit's pages give no name; where every request carried one, what has none was made on such a page
    requests_are_named = all(name for name, _ in venue.creates)
    hands = {order.client_order_id for order in venue.orders
             if order.client_order_id.startswith(PREFIX) or (requests_are_named and not order.client_order_id)}
    orders = {f"{name} on the venue carries no prefix of ours" for name in hands}
    fills = {f"fill {(fill.symbol, fill.trade_id)} belongs to no order of the journal"
             for fill in venue.fills if fill.client_order_id in hands}
    return [finding._replace(wrong=[text for text in finding.wrong if text not in orders | fills])
            for finding in findings]
