"""A token with all scopes for the stack of compose.yaml: `python -m deploy.images.mint <folder of keys> [tenant]`."""

import sys
from pathlib import Path

from deploy.local.contracts import scopes
from deploy.local.credentials import Credentials

if __name__ == "__main__":
    tenant = sys.argv[2] if len(sys.argv) > 2 else "demo"
    print(Credentials.in_folder(Path(sys.argv[1])).mint(tenant, scopes()))
