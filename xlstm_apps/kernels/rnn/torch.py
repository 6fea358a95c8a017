"""Interim: the fast plain-torch backend replaces this module."""

from xlstm_apps.kernels.rnn.reference import rnn, rnn_step, unsupported

__all__ = ["rnn", "rnn_step", "unsupported"]
