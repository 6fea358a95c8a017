"""What stands beside the xLSTM: simpler models of sequences, and networks of other kinds."""
