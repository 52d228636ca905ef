"""The packages of the service: registry, experiments, telemetry, statistics, reporting and HTTP.

The public modules are at the top level: `enhanced_flask`, `model_manager`, `ab_testing`, `monitoring` (the doors).
"""
