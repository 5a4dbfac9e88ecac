"""Views."""

VIEWS: dict[str, str] = {"v_orders": "SELECT * FROM orders"}
