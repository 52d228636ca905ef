"""`make audit`: are known vulnerabilities in what requirements.txt pins? pip-audit asks PyPI, then OSV.

Exit status: 0 nothing is known, or no database could be asked, which the line says; 1 something is known; 2 pip-audit
itself is missing or failed. A database that knows none of our packages counts as one that was not asked: pip-audit alone
calls that a success.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = "15"
UNREACHABLE = ("Connection", "Timeout", "timed out", "Max retries", "Name or service", "ServiceError", "HTTPError")


def main() -> int:
    """Ask one database after the other until one has answered for at least one package."""
    for database in ("pypi", "osv"):
        command = [sys.executable, "-m", "pip_audit", "--requirement", "requirements.txt", "--no-deps", "--disable-pip"]
        options = ["--vulnerability-service", database, "--timeout", TIMEOUT_S, "--progress-spinner", "off"]
        done = subprocess.run(
            [*command, *options, "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        try:
            dependencies = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            if not any(sign in done.stderr for sign in UNREACHABLE):
                print(done.stderr[-2_000:], file=sys.stderr)
                return 2
            continue
        audited = [each for each in dependencies if "skip_reason" not in each]
        if audited:
            return told(audited, [each["name"] for each in dependencies if "skip_reason" in each], database)
    print("NOT AUDITED: neither PyPI nor OSV could be asked for vulnerabilities from here")
    return 0


def told(audited: list[dict[str, object]], skipped: list[str], database: str) -> int:
    """Print what is known of the packages; 1 if that is anything."""
    found = 0
    for each in audited:
        for vulnerability in each["vulns"]:  # type: ignore[attr-defined]
            found += 1
            fixed = ", ".join(vulnerability["fix_versions"]) or "no release yet"
            print(f"{each['name']} {each['version']}: {vulnerability['id']}, mended in {fixed}")
    print(f"{database}: {found} known vulnerabilities in {len(audited)} packages; not known there: {skipped or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
