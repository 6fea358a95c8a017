"""Interim: the fast plain-torch backend replaces this module."""

from xlstm_apps.kernels.mlstm.reference import mlstm, mlstm_step, unsupported

__all__ = ["mlstm", "mlstm_step", "unsupported"]
