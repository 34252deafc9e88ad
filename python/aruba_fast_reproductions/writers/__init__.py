"""Personalized digits: FedAvg and FedAvg with ARUBA on MNIST by the people who wrote it."""

from .job import WritersJob
from .settings import Settings
from .study import STUDY, Method

__all__ = ["STUDY", "Method", "Settings", "WritersJob"]
