"""Bybit V5: unified account, linear USDT perpetuals, one-way mode; it acknowledges orders before it checks them."""
