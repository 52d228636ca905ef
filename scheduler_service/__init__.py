"""The organs of the service: registry, experiments, telemetry, statistics, reporting and HTTP.

The doors at the top level (`enhanced_flask`, `model_manager`, `ab_testing`, `monitoring`) are the way in.
"""
