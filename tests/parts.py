"""The parts of a service without its HTTP layer."""

from pathlib import Path

from enhanced_flask import make_folders, make_services
from scheduler_service.http.services import Services
from scheduler_service.settings import Settings


def parts_over(home: Path) -> Services:
    settings = Settings(home=home)
    make_folders(settings)
    return make_services(settings)
