"""Errors as AWS answers them, and the few ways in which an answer can be something else."""


class AwsError(Exception):
    """An error of the service: its code, its sentence, its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """What the client will see."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> AwsError:
    """A parameter that AWS refuses."""
    return AwsError("InvalidParameterException", message)
