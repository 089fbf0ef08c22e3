"""The real command line, run as a subprocess the way a user runs it, and moments to build worlds with."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ecrsweep.emulator import Emulator
from ecrsweep.sources import OWN

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "123456789012"
REGIONS = ("eu-west-1", "us-east-1", "us-west-2")
REGIONAL_SOURCES = frozenset(name for name, make in OWN.items() if make().about.by_default and not make().about.once)
"""The sources of our own that are asked in every region unless a user says otherwise."""


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def decisions(self) -> dict[str, dict[str, Any]]:
        """The decisions of a plan, by digest."""
        return {decision["digest"]: decision for decision in self.json["decisions"]}

    def action(self, digest: str) -> str:
        """What the plan does with an image."""
        return str(self.decisions[digest]["action"])

    def codes(self, digest: str) -> set[str]:
        """The codes of an image's reasons."""
        return {reason["code"] for reason in self.decisions[digest]["reasons"]}

    def details(self, digest: str) -> str:
        """The details of an image's reasons, as one text."""
        return "\n".join(reason["detail"] for reason in self.decisions[digest]["reasons"])


class Cli:
    """The command line, with the environment of a user and a home of its own."""

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ECRSWEEP_"))}
        self.home = home
        self._config: dict[str, str] = {}
        folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_STATE_HOME": str(home / "state")}
        self.environ = {**plain, **environ, **folders}

    def __call__(self, *arguments: str, stdin: str | None = None, **environ: str) -> Finished:
        """Run `ecrsweep` to its end."""
        return self.run([sys.executable, "-m", "ecrsweep", *arguments], stdin, self._config | environ)

    def asking(self, *sources: str) -> "Cli":
        """The same, where a configuration says that these sources alone are asked: stories about something else are quicker."""
        file = self.home / "asking.yaml"
        file.write_text(f"sources:\n  skip: [{', '.join(name for name in OWN if name not in sources)}]\n")
        self._config = {"ECRSWEEP_CONFIG": str(file)}
        return self

    def plan(self, *arguments: str, **environ: str) -> Finished:
        """A plan as JSON, without the rules of pull times and of the ledger: most stories are about something else."""
        plain = ("plan", "--output", "json", "--pulled-within", "0d", "--used-within", "0d")
        return self(*plain, *arguments, **environ)

    def original(self, *arguments: str, **environ: str) -> Finished:
        """Run `python main.py`."""
        return self.run([sys.executable, str(ROOT / "main.py"), *arguments], None, environ)

    def handler(self, event: Any, **environ: str) -> Finished:
        """Call the Lambda handler as Lambda would; what it gives back is the output, what it prints the errors."""
        script = (
            f"import contextlib, json, sys; sys.path.insert(0, {str(ROOT)!r}); import main\n"
            "with contextlib.redirect_stdout(sys.stderr): answer = main.handler(json.loads(sys.argv[1]), None)\n"
            "print(json.dumps(answer))"
        )
        return self.run([sys.executable, "-c", script, json.dumps(event)], None, environ)

    def run(self, command: list[str], stdin: str | None, environ: Mapping[str, str]) -> Finished:
        """Run any command in this environment."""
        ended = subprocess.run(
            command, input=stdin or "", capture_output=True, text=True, check=False, timeout=120, cwd=self.home,
            env={**self.environ, **environ},
        )  # fmt: skip
        return Finished(ended.returncode, ended.stdout, ended.stderr)


def ago(**span: float) -> datetime:
    """A moment before now: `ago(days=3)`."""
    return datetime.now(UTC) - timedelta(**span)


class CredentialProcess:
    """A profile whose `credential_process` is a real script: each time that it runs it hands out another access key.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """

    def __init__(self, folder: Path) -> None:
        """All keys are valid for an hour, until somebody says otherwise; the files lie in the folder."""
        self._config, self._script, self._log = folder / "config", folder / "credentials.py", folder / "runs"
        self._says = {"seconds": [3600.0], "last": 1_000_000, "fails_from": 1_000_000, "why": ""}
        self._profile = f"credential_process = {sys.executable} {self._script}\n"
        self._write()

    def environ(self, aws: Emulator) -> dict[str, str]:
        """What a process needs to get its credentials so; without keys of its own."""
        plain = {name: value for name, value in aws.environ().items() if "KEY" not in name}
        return plain | {"AWS_CONFIG_FILE": str(self._config)}

    @property
    def runs(self) -> int:
        """How often it has been run."""
        return len(self._log.read_text()) if self._log.exists() else 0

    @staticmethod
    def key(run: int) -> str:
        """The access key that the n-th run hands out."""
        return f"ASIARUN{run:09}"

    def valid_for(self, *seconds: float) -> None:
        """How long the keys of the first runs are valid; the last of these holds for all after it."""
        self._say(seconds=list(seconds))

    def stays_at(self, run: int) -> None:
        """From this run on it hands out the same key."""
        self._say(last=run)

    def fails_from(self, run: int, why: str) -> None:
        """From this run on it fails, and says why."""
        self._say(fails_from=run, why=why)

    def use_for_a_role(self, arn: str) -> None:
        """The profile is of a role, which is assumed with what the script hands out."""
        source = f"[profile base]\n{self._profile}"
        self._config.write_text(f"{source}[default]\nrole_arn = {arn}\nsource_profile = base\n")

    def _say(self, **what: Any) -> None:
        self._says |= what
        self._write()

    def _write(self) -> None:
        self._config.write_text(f"[default]\n{self._profile}")
        self._script.write_text(
            "import datetime, json, sys\n"
            f"log, says = open({str(self._log)!r}, 'a+'), {self._says!r}\n"
            "log.write('.'); log.flush(); log.seek(0); run = len(log.read())\n"
            "if run >= says['fails_from']: sys.exit(says['why'])\n"
            "seconds = says['seconds'][min(run, len(says['seconds'])) - 1]\n"
            "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)\n"
            "key = f\"ASIARUN{min(run, says['last']):09}\"\n"
            "print(json.dumps({'Version': 1, 'AccessKeyId': key, 'SecretAccessKey': 's', 'SessionToken': 't',\n"
            "                  'Expiration': end.isoformat()}))\n"
        )
