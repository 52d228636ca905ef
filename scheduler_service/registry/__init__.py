"""The organs of the model registry; its door is `model_manager.ModelVersionManager`."""
