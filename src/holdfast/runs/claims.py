"""Who does what among processes that share a list of very unequal pieces: first come, first served.

A claim is a file that only one process can create. Dealing pieces out in advance would leave one
process with all the long ones. Imports no torch.
"""

import os
import shutil
from pathlib import Path

from holdfast.runs.atomic import Pathlike, unwritable


class Claims:
    """Claims on numbered pieces of work, as files in a folder.

    Args:
        folder: shared by the processes; made by the first claim.

    Guarantee: of all processes that try, one gets a number, until `clear`.

    Example:
        >>> claims = Claims(getfixture("tmp_path") / "claims")
        >>> claims.take(3), claims.take(3)
        (True, False)
    """

    def __init__(self, folder: Pathlike):
        self.folder = Path(folder)

    def take(self, number: int) -> bool:
        """Whether the piece of this number is the caller's.

        Raises:
            InputError: the folder cannot be written.
        """
        path = self.folder / str(number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        except OSError as error:
            raise unwritable(path, error) from error
        return True

    def clear(self) -> None:
        """Forgets all claims; for the one process that starts the others, before it does."""
        shutil.rmtree(self.folder, ignore_errors=True)
