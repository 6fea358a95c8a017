"""The recurrences with memory mixing (sLSTM, LSTM, GRU, Elman) and their backends."""
