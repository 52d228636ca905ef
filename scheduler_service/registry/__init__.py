"""The parts of the model registry; its public class is `model_manager.ModelVersionManager`."""
