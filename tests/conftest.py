"""What several test modules share."""

import os
import shutil

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # tests that run beside others have a core each; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Generated inputs of each fuzz test: few in CI, many with `pytest -k fuzz --hypothesis-profile nightly`. CI draws the
# same ones every time, so that a change is not blamed for an old fault; a nightly run draws anew.
_NO_DATABASE = {"database": None, "deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("ci", max_examples=250, derandomize=True, **_NO_DATABASE)
hypothesis.settings.register_profile("nightly", max_examples=10_000, **_NO_DATABASE)
hypothesis.settings.load_profile("ci")

os.environ["GRADUS_TEST_TASKS"] = (
    "1"  # submissions may be of tasks without physics, see `leaderboard.submissions.checks`
)


def pytest_collection_modifyitems(items):
    """Mark what lives in a module of fuzz tests."""
    for item in items:
        if item.path.name.startswith("test_fuzz_"):
            item.add_marker("fuzz")


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--window-size=1280,900"),
    "--disable-dev-shm-usage",  # containers have 64 MB there, and a page that finds no room crashes
)


@pytest.fixture
def one_thread():
    """torch on one core: equal sums everywhere, and faster for what is small."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, driven by selenium; its log has whatever a page did wrong."""
    if not (chromium := shutil.which("chromium")) or not (driver := shutil.which("chromedriver")):
        needs = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        if "CI" in os.environ:  # nobody would notice there that the pages are not tested
            pytest.fail(needs)
        pytest.skip(needs)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome
