"""`token`: makes a reviewer's token, and the entry that lets it in. Nothing is kept or sent."""

from __future__ import annotations

from rich.markup import escape

from services.console.output import print_json, results
from shared.sign_in import Role, new_token


def show_token(name: str, *, operator: bool, json_output: bool) -> int:
    """Show a fresh token with its entry. Raises ConfigurationError for a name that an entry cannot hold."""
    role = Role.OPERATOR if operator else Role.REVIEWER
    token, entry = new_token(name, role)
    if json_output:
        print_json({"name": name, "role": role.value, "token": token, "entry": entry})
        return 0
    out = results()
    out.print(f"For {escape(name)}, to enter where the page asks for a key; it is shown this once:", soft_wrap=True)
    out.print(token, markup=False, highlight=False, soft_wrap=True)
    out.print("For labeler-api, a further line of EVENSKIN_REVIEWERS_FILE or, after a comma, of EVENSKIN_REVIEWERS:")
    out.print(entry, markup=False, highlight=False, soft_wrap=True)
    return 0
