"""The entry points of the AWS post of 2016, "Automated Cleanup of Unused Images in Amazon ECR", kept working.

    python main.py -dryrun False -imagestokeep 20 -region us-west-2 -ignoretagsregex 'release|archive'

and, as a Lambda function, the handler `main.handler` with the environment `REGION`, `DRYRUN`, `IMAGES_TO_KEEP`
and `IGNORE_TAGS_REGEX`. What differs from the original, and why, is in docs/migrating.md.
"""

import sys
from pathlib import Path

_SOURCES = Path(__file__).resolve().parent / "src"
if _SOURCES.is_dir():  # in a checkout; in a Lambda package ecrsweep lies beside this file
    sys.path.insert(0, str(_SOURCES))

from ecrsweep.cli.original import main  # noqa: E402 - the path comes first
from ecrsweep.serverless.handler import handler  # noqa: E402

__all__ = ["handler", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
