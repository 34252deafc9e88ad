"""Personalized language: FedAvg and FedAvg with ARUBA on what the roles of Shakespeare say."""

from .job import ShakespeareJob
from .settings import SCALES, Settings
from .study import STUDY, Method

__all__ = ["SCALES", "STUDY", "Method", "Settings", "ShakespeareJob"]
