"""A process that ends with its parent; for test_suite_parts."""

import time

from suite.process import follow_parent

if __name__ == "__main__":
    follow_parent()
    print("following", flush=True)
    time.sleep(60)
