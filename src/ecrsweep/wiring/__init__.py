"""What the command line and the Lambda handler share: from settings to a world and a request, exit statuses, the original.

It knows every room at the edge and puts them together; it decides nothing and tells no story of its own.
"""
