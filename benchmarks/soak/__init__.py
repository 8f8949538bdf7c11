"""A chaos soak: a thousand turns through the guards while the server behind them is killed, frozen and restarted."""
