"""The configuration: config.toml, the environment over it, credentials apart from both, and errors that help."""

from tradingd.config.load import find_config, load_settings
from tradingd.config.problems import EXIT_STATUS, ConfigError, Position, Problem
from tradingd.config.settings import (
    DaemonSettings,
    ExecutionSettings,
    JournalSettings,
    LogSettings,
    Mode,
    MqttSettings,
    RiskSettings,
    Settings,
    StrategySettings,
    VenueSettings,
)
from tradingd.config.source import Problems

__all__ = [
    "EXIT_STATUS",
    "ConfigError",
    "DaemonSettings",
    "ExecutionSettings",
    "JournalSettings",
    "LogSettings",
    "Mode",
    "MqttSettings",
    "Position",
    "Problem",
    "Problems",
    "RiskSettings",
    "Settings",
    "StrategySettings",
    "VenueSettings",
    "find_config",
    "load_settings",
]
