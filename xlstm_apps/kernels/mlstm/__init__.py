"""The matrix-memory recurrence (mLSTM) and its backends."""
