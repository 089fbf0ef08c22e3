"""How fast a plan is, how much memory it takes, and how it behaves when AWS is slow or throttles. See docs/performance.md."""
