"""What a person does at the venue beside the daemon: a fault script lets one trade, and that belongs to nobody here."""

from benchmarks.compare import Finding, Question

PREFIX = "web_"
"""How the venue's own pages begin a client order id."""


def without_hands(question: Question, findings: list[Finding]) -> list[Finding]:
    """The findings without what they say of a person's orders and fills: that these are not ours is right."""
    orders = {f"{order.client_order_id} on the venue carries no prefix of ours" for order in question.venue.orders
              if order.client_order_id.startswith(PREFIX)}
    fills = {f"fill {(fill.symbol, fill.trade_id)} belongs to no order of the journal"
             for fill in question.journal.fills if fill.client_order_id.startswith(PREFIX)}
    return [finding._replace(wrong=[text for text in finding.wrong if text not in orders | fills])
            for finding in findings]
