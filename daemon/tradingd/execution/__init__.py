"""From intent to order to fill: lanes, the seven components, protection. The only sender of orders."""
