"""A process that ends with its parent, or reports events to it; for test_suite_parts."""

import os
import sys
import time
from pathlib import Path

from suite.execute.process import emitter, follow_parent

if __name__ == "__main__":
    follow_parent()
    print("following", flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)
    print("compiling kernels\nand more", flush=True)
    while not Path(sys.argv[1]).with_name("seen").exists():
        time.sleep(0.01)
    emit = emitter(sys.argv[1])
    emit({"step": 1})
    emit({"step": 2})
    with open(sys.argv[1], "a") as file:
        file.write('{"step"')
    os._exit(3)
