"""Child processes unpickle what they run by the name of its module."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
