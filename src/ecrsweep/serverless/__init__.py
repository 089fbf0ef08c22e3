"""ecrsweep as a Lambda function: events and environment to settings, plans and reports to a bucket; translation only."""
