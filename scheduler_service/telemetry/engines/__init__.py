"""The engines that store the records; `telemetry.database` selects one."""
