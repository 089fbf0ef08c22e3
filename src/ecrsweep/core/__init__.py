"""The pure core: words, graph, policy and decisions.

It knows the standard library and msgspec only: no clock, no AWS, no logging, no files.
Times are seconds since the epoch, UTC; sizes are bytes.
"""
