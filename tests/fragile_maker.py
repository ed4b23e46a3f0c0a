"""What a process of a pool has in tests: it imports little, answers, and dies when it is told to."""

import os


class FragileMaker:
    def load(self) -> int:
        return os.getpid()

    def double(self, value: int) -> int:
        return 2 * value

    def die(self) -> None:
        os._exit(9)
