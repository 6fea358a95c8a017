"""The jobs people run: one module per task, one function per verb. Imports torch inside the functions only."""
