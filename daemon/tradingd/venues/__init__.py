"""The live venues: ccxt.pro below, domain types above. The only package that imports ccxt, and only when opened."""
