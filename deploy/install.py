"""`python deploy/install.py -r requirements.txt`: what `pip install` does, by uv, in seconds rather than a minute.

uv reads no configuration of pip's, so pip is asked for it: indexes, links, constraints and certificates count as they
do for pip. Where uv cannot be had, or cannot install, pip does.
"""

import ast
import os
import subprocess
import sys

UV = "uv==0.13.9"
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraints",
    "trusted-host": "--allow-insecure-host",
}
"""Of pip's configuration, and what uv calls them; each may have several values."""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def configuration() -> dict[str, list[str]]:
    """The values of pip's options for `pip install`, of its files and of the environment."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.strip().rpartition(".")
        if section in ("global", "install", ":env:"):
            known = found.setdefault(option, [])
            known += [each for each in str(ast.literal_eval(value)).split() if each not in known]
    return found


def options_for_uv(configured: dict[str, list[str]]) -> list[str]:
    """pip's configuration as options of `uv pip install`."""
    return [
        *(part for name, option in OPTIONS.items() for value in configured.get(name, []) for part in (option, value)),
        *(["--no-index"] if configured.get("no-index", ["0"])[-1].lower() in ("1", "true", "yes", "on") else []),
        *("--index-strategy", "unsafe-best-match"),  # pip takes the best version of any index
    ]


def by_uv(arguments: list[str]) -> bool:
    """Whether uv installed it."""
    if subprocess.run([*PIP, "install", "--quiet", "--no-compile", UV], check=False).returncode:
        return False
    configured = configuration()
    certificates = {"SSL_CERT_FILE": configured["cert"][-1]} if "cert" in configured else {}
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    environment = os.environ | certificates
    return subprocess.run([*command, *options_for_uv(configured), *arguments], env=environment).returncode == 0


def main(arguments: list[str]) -> int:
    """The exit status of what installed it."""
    if by_uv(arguments):
        return 0
    print("uv could not install this; pip does", file=sys.stderr)
    return subprocess.run([*PIP, "install", "--quiet", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
