"""Quotas: buckets, what is learned of a provider, who is next in line."""
