"""The third face of the emulator: the venue port on the engine itself, without ccxt and without a wire."""
