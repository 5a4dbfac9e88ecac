"""Parts of the figure `order_latency`: what stamps times, the bare client, and the plugin that trades each candle."""
