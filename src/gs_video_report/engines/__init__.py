"""Engines turn one video into one VideoReport; the batch knows them by the protocol only."""
