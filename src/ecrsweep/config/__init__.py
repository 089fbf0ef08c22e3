"""What users write, made into what the core understands: flags, events and variables, the configuration file, hold files.

`settings` has all that can be said about a run; `nodes` and `grammar` read files in which every problem has its line.
"""

from ecrsweep.config.accounts import Listed, Units, check_account_number, check_role
from ecrsweep.config.file import Configuration, read_configuration
from ecrsweep.config.holds import read_holds
from ecrsweep.config.nodes import BadFile
from ecrsweep.config.settings import (
    OF_A_FILE,
    OF_ONE_POLICY,
    Settings,
    check_accepted_gaps,
    check_state,
    limits_of,
    moment_of,
    policies_of,
    policy_of,
)

__all__ = [
    "OF_A_FILE",
    "OF_ONE_POLICY",
    "BadFile",
    "Configuration",
    "Listed",
    "Settings",
    "Units",
    "check_accepted_gaps",
    "check_account_number",
    "check_role",
    "check_state",
    "limits_of",
    "moment_of",
    "policies_of",
    "policy_of",
    "read_configuration",
    "read_holds",
]
