"""Deletes the container images in Amazon ECR that nothing uses, and proves why each one stays or goes."""
